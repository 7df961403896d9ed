"""`benchmarks/ann` as ann-benchmarks and VIBE run it: on an HDF5 file in their format, from their config.yml.

The tools are no packages of Python: their `BaseANN` is a stand-in, and `run` does what their runners do.
"""

from __future__ import annotations

import importlib
import itertools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters_support import package

h5py = package("h5py")
yaml = package("yaml")

SOURCE = Path(__file__).resolve().parents[2] / "benchmarks" / "ann"
BASE = """
class BaseANN(object):
    def get_batch_results(self):
        return self.res

    def get_additional(self):
        return {}

    def __str__(self):
        return self.name
"""
METRICS = {"ann-benchmarks": ["euclidean", "angular"], "vibe": ["euclidean", "cosine", "normalized", "ip"]}
ROWS, QUERIES, DIMENSION, NEIGHBOURS = 2_000, 30, 24, 20


@pytest.fixture(params=METRICS)
def tool(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The folder of a tool's algorithms, with our module dropped in."""
    root = {"ann-benchmarks": "ann_benchmarks", "vibe": "vibe"}[request.param]
    algorithms = tmp_path / root / "algorithms"
    (algorithms / "base").mkdir(parents=True)
    (algorithms / "base" / "module.py").write_text(BASE)
    (algorithms / "lanner").mkdir()
    for file in (SOURCE / "module.py", *(SOURCE / request.param).iterdir()):
        shutil.copy(file, algorithms / "lanner")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield request.param
    for name in [name for name in sys.modules if name.partition(".")[0] == root]:
        del sys.modules[name]


def definitions(tool: str, folder: Path) -> list[dict[str, Any]]:
    """The entries of config.yml: positional arguments, as the tools make them of lists and of names."""
    root = {"ann-benchmarks": "ann_benchmarks", "vibe": "vibe"}[tool]
    config = yaml.safe_load((folder / root / "algorithms" / "lanner" / "config.yml").read_text())
    found = []
    for entry in config["float"]["any"]:
        for group in entry["run_groups"].values():
            grids = [
                list(part.values()) if isinstance(part, dict) else part
                for part in (group["args"], group["query_args"])
            ]
            build, query = (list(itertools.product(*grid)) for grid in grids)
            found.append({**entry, "build": build, "query": query})
    return found


def distances(queries: np.ndarray, rows: np.ndarray, metric: str) -> np.ndarray:
    queries, rows = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "euclidean":
        return np.linalg.norm(queries[:, None] - rows[None], axis=2)
    if metric in ("angular", "cosine"):
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return -(queries @ rows.T)


def dataset(file: Path, metric: str) -> None:
    """A small data set of the format: train, test, neighbors, distances, and VIBE's learn set."""
    random = np.random.default_rng(3)
    rows = random.standard_normal((ROWS, DIMENSION)).astype(np.float32)
    queries = (random.standard_normal((QUERIES + 200, DIMENSION)) + 0.3).astype(np.float32)
    if metric == "normalized":
        rows, queries = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, queries))
    test, learn = queries[:QUERIES], queries[QUERIES:]
    with h5py.File(file, "w") as out:
        out.attrs.update({"type": "dense", "distance": metric, "dimension": DIMENSION, "point_type": "float"})
        out["train"] = rows
        for name, part, suffix in (("test", test, ""), ("learn", learn, "learn_")):
            exact = distances(part, rows, metric)
            nearest = np.argsort(exact, axis=1)[:, :NEIGHBOURS]
            out[name] = part
            out[f"{suffix}neighbors"] = nearest.astype(np.int32)
            out[f"{suffix}distances"] = np.take_along_axis(exact, nearest, axis=1)


def run(definition: dict[str, Any], file: Path) -> list[float]:
    """Recall by query arguments, in the steps of the tools' runners."""
    module = importlib.import_module(f"{definition['module']}.module")
    with h5py.File(file) as data:
        train, test, truth = (np.array(data[name]) for name in ("train", "test", "neighbors"))
        learn, learn_neighbors = np.array(data["learn"]), np.array(data["learn_neighbors"])
        metric = data.attrs["distance"]
    assert definition["base_args"] == ["@metric"]
    algorithm = getattr(module, definition["constructor"])(metric, *definition["build"][0])
    if definition.get("ood"):
        algorithm.fit_ood(train, learn, learn_neighbors)
    else:
        algorithm.fit(train)
    recalls = []
    for arguments in definition["query"]:
        algorithm.set_query_arguments(*arguments)
        assert f"search_window={arguments[0]}" in str(algorithm)
        found = [algorithm.query(query, NEIGHBOURS) for query in test]
        algorithm.batch_query(test, NEIGHBOURS)
        np.testing.assert_array_equal(algorithm.get_batch_results(), np.stack(found))
        hits = [len(np.intersect1d(ids, nearest)) for ids, nearest in zip(found, truth)]
        recalls.append(sum(hits) / truth.size)
    algorithm.done()
    return recalls


@pytest.mark.parametrize(
    ("tool", "metric"),
    [(tool, metric) for tool, metrics in METRICS.items() for metric in metrics],
    indirect=["tool"],
)
def test_a_small_data_set(tool: str, tmp_path: Path, metric: str) -> None:
    dataset(tmp_path / "small.hdf5", metric)
    for definition in definitions(tool, tmp_path):
        recalls = run(definition, tmp_path / "small.hdf5")
        print(tool, definition["name"], metric, recalls)
        assert recalls[-1] > 0.99 and recalls[0] <= recalls[-1]


def test_an_unknown_metric_is_refused(tool: str) -> None:
    root = {"ann-benchmarks": "ann_benchmarks", "vibe": "vibe"}[tool]
    module = importlib.import_module(f"{root}.algorithms.lanner.module")
    with pytest.raises(ValueError, match="metric: expected euclidean, .*, got 'hamming'"):
        module.Lanner("hamming")
