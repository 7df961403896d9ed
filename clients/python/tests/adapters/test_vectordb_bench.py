"""`benchmarks/vectordb_bench` as a client of VectorDBBench, on a data set in its Parquet format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters_support import package

import lanner

# It makes a folder for its log where the tests run.
os.environ.setdefault("LOG_FILE", os.devnull)
clients = package("vectordb_bench.backend.clients")
api = package("vectordb_bench.backend.clients.api")
filters = package("vectordb_bench.backend.filter")
pyarrow = package("pyarrow")

SOURCE = Path(__file__).resolve().parents[2] / "benchmarks" / "vectordb_bench"
ROWS, QUERIES, DIMENSION, NEIGHBOURS = 1_500, 20, 24, 10


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Our modules, dropped into the package's clients."""
    clients.__path__.append(str(SOURCE))
    yield package("vectordb_bench.backend.clients.lanner.lanner")
    clients.__path__.remove(str(SOURCE))


@pytest.fixture(params=["embedded", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where the database is."""
    if request.param == "embedded":
        return {"path": str(tmp_path / "db")}
    return {"address": request.getfixturevalue("server").address}


def parquet(folder: Path) -> None:
    """A data set as VectorDBBench has them: train, test, neighbors, and labels."""
    from pyarrow import parquet

    random = np.random.default_rng(9)
    rows = random.standard_normal((ROWS, DIMENSION)).astype(np.float32)
    queries = random.standard_normal((QUERIES, DIMENSION)).astype(np.float32)
    nearest = np.argsort(-(queries @ (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T), axis=1)
    labels = np.where(np.arange(ROWS) % 4 == 0, "label_25p", "label_75p")
    tables = {
        "train": {"id": np.arange(ROWS), "emb": list(rows)},
        "test": {"id": np.arange(QUERIES), "emb": list(queries)},
        "neighbors": {"id": np.arange(QUERIES), "neighbors_id": list(nearest)},
        "scalar_labels": {"id": np.arange(ROWS), "labels": labels},
    }
    for name, columns in tables.items():
        parquet.write_table(pyarrow.table(columns), folder / f"{name}.parquet")


def read(folder: Path, name: str, column: str) -> list[Any]:
    from pyarrow import parquet

    values: list[Any] = parquet.read_table(folder / f"{name}.parquet")[column].to_pylist()
    return values


def test_a_small_data_set(client: Any, place: dict[str, Any], tmp_path: Path) -> None:
    parquet(tmp_path)
    config = client.LannerIndexConfig(metric_type=api.MetricType.COSINE, target_recall=0.99)
    settings = package("vectordb_bench.backend.clients.lanner.config").LannerConfig(db_label="here", **place)
    database = client.Lanner(DIMENSION, settings.to_dict(), config, "vdbbench", drop_old=True)
    assert isinstance(database, api.VectorDB) and not database.need_normalize_cosine()
    rows, ids = read(tmp_path, "train", "emb"), read(tmp_path, "train", "id")
    labels = read(tmp_path, "scalar_labels", "labels")
    with database.init():
        for start in range(0, ROWS, 500):
            part = slice(start, start + 500)
            assert database.insert_embeddings(rows[part], ids[part], labels[part]) == (500, None)
        database.optimize(ROWS)
    queries, truth = read(tmp_path, "test", "emb"), read(tmp_path, "neighbors", "neighbors_id")
    kinds = [
        (filters.non_filter, lambda id: True),
        (filters.NewIntFilter(filter_rate=0.5, int_value=ROWS // 2), lambda id: id >= ROWS // 2),
        (filters.LabelFilter(0.25), lambda id: labels[id] == "label_25p"),
    ]
    with database.init():
        for condition, holds in kinds:
            assert database.filter_supported(condition)
            database.prepare_filter(condition)
            right = 0
            for query, nearest in zip(queries, truth):
                wanted = [id for id in nearest if holds(id)][:NEIGHBOURS]
                found = database.search_embedding(query, k=NEIGHBOURS)
                assert len(found) == NEIGHBOURS and all(map(holds, found))
                right += len(set(found) & set(wanted))
            assert right / (QUERIES * NEIGHBOURS) >= 0.98


def test_what_is_refused(client: Any, tmp_path: Path) -> None:
    config = package("vectordb_bench.backend.clients.lanner.config").LannerConfig
    with pytest.raises(ValueError, match="expected either address or path"):
        config(db_label="nowhere").to_dict()
    with pytest.raises(ValueError, match="metric_type: expected L2, COSINE, IP or DP, got HAMMING"):
        client.LannerIndexConfig(metric_type=api.MetricType.HAMMING).index_param()
    place = config(db_label="here", path=str(tmp_path / "db")).to_dict()
    database = client.Lanner(DIMENSION, place, None, "vdbbench")
    with database.init():
        stored, error = database.insert_embeddings([[0.5] * 3], [1])
        assert stored == 0 and isinstance(error, lanner.InvalidInput)
