"""Converts a data set of VIBE (arXiv 2505.17810), such as llama-128-ip.hdf5, to a set.

VIBE's files have the datasets train [n, d], test [m, d], neighbors [m, 100] and distances, and
learn [l, d] where queries are distributed differently from the keys. There are no values.
"""

import argparse
from pathlib import Path

import h5py
import numpy as np

MAX_LEARN = 32_768


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path, help="where the set is written")
    arguments = parser.parse_args()
    folder = arguments.folder / arguments.file.stem
    with h5py.File(arguments.file) as file:
        missing = {"train", "test"} - set(file)
        if missing:
            raise SystemExit(f"{arguments.file} has no dataset {', '.join(sorted(missing))}")
        if "learn" not in file:
            print(f"{arguments.file} has no queries to learn from: all codes will be scored")
        folder.mkdir(parents=True, exist_ok=True)

        def rows(name):
            return np.ascontiguousarray(file[name], dtype=np.float32)

        np.save(folder / "keys.npy", rows("train"))
        if "learn" in file:
            np.save(folder / "learn.npy", rows("learn")[:MAX_LEARN])
        # Written last: a set is complete if it has this.
        np.save(folder / "test.npy", rows("test"))


if __name__ == "__main__":
    main()
