"""Lanner beside other databases that run inside a Python process, at the same task. Prints a table.

    pip install -r clients/python/benchmarks/requirements.txt
    python clients/python/benchmarks/peers.py --data FOLDER --results results.json

The task: write all points from numpy into a new folder until their index is ready, then find the ten nearest
of each query, one query a call and a hundred a call. FOLDER has `base.f16.npy` [points, dimension],
`queries_id.f32.npy` [queries, dimension] and the exact neighbours `groundtruth_cosine_top100_id.i32.npy`.

Each peer runs in a process of its own, in turn, `--rounds` times; a round that is run later is added to the
results. Recall is measured over all queries for each of a peer's settings, from fast to slow; speeds are those
of the first setting that reaches a target. Medians of the rounds are reported. Lines of code are those of the
functions `ingest`, `query` and `batch` below, formatted alike.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib.metadata
import inspect
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

LIMIT, BATCH = 10, 100
TARGETS = (0.95, 0.99)
SECONDS = 2.0
# Queries of a peer that needs more than this for one are fewer.
SLOW_SECONDS, FEW = 0.005, 200


class Peer:
    """A database: `ingest` writes into a folder, `query` and `batch` give ids, best first."""

    package: str
    module: str
    how: str
    folder: str
    setting: str
    settings: tuple[Any, ...] = (None,)

    def ingest(self, folder: str, base: np.ndarray) -> None:
        raise NotImplementedError

    def query(self, vector: np.ndarray, setting: Any) -> Any:
        raise NotImplementedError

    def batch(self, vectors: np.ndarray, setting: Any) -> Any:
        raise NotImplementedError

    def prepare(self, setting: Any) -> None:
        """Applies a setting that is not one of calls."""

    def rows(self, found: Any) -> list[int]:
        """Ids of an answer as row numbers."""
        return [int(id) for id in found]


class Lanner(Peer):
    package = module = "lanner"
    how = "graph on trained codes, the defaults"
    setting, settings = "target_recall", (0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995)

    def ingest(self, folder, base):
        import lanner

        db = lanner.open(folder)
        self.docs = db.create_collection("docs", {"v": lanner.vector(base.shape[1])})
        self.docs.upsert(ids=range(len(base)), vectors={"v": base})
        self.docs.optimize()

    def query(self, vector, setting):
        return self.docs.query("v", vector, limit=LIMIT, target_recall=setting).ids

    def batch(self, vectors, setting):
        return self.docs.batch_query("v", vectors, limit=LIMIT, target_recall=setting).ids


class QdrantEdge(Peer):
    package, module = "qdrant-edge-py", "qdrant_edge"
    how = "HNSW on float32, `m` 16, `ef_construct` 100"
    setting, settings = "hnsw_ef", (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)

    def ingest(self, folder, base):
        import qdrant_edge as qdrant

        parameters = qdrant.EdgeVectorParams(size=base.shape[1], distance=qdrant.Distance.Cosine)
        self.qdrant, self.shard = qdrant, qdrant.EdgeShard.create(folder, qdrant.EdgeConfig(parameters))
        for first in range(0, len(base), 1000):
            points = [qdrant.Point(first + at, row) for at, row in enumerate(base[first : first + 1000])]
            self.shard.update(qdrant.UpdateOperation.upsert_points(points))
        self.shard.flush()
        self.shard.optimize()

    def query(self, vector, setting):
        nearest, parameters = self.qdrant.Query.Nearest(vector), self.qdrant.SearchParams(hnsw_ef=setting)
        request = self.qdrant.QueryRequest(query=nearest, limit=LIMIT, params=parameters)
        return [point.id for point in self.shard.query(request)]

    def batch(self, vectors, setting):
        qdrant, parameters = self.qdrant, self.qdrant.SearchParams(hnsw_ef=setting)
        nearest = map(qdrant.Query.Nearest, vectors)
        requests = [qdrant.QueryRequest(query=query, limit=LIMIT, params=parameters) for query in nearest]
        found = self.shard.query_batch(qdrant.QueryBatchRequest(requests))
        return [[point.id for point in points] for points in found]


class QdrantLocal(Peer):
    package, module = "qdrant-client", "qdrant_client"
    how = "local mode in memory, an exact scan in numpy"
    setting = "none"

    def ingest(self, folder, base):
        from qdrant_client import QdrantClient, models

        self.client, self.models = QdrantClient(":memory:"), models
        parameters = models.VectorParams(size=base.shape[1], distance=models.Distance.COSINE)
        self.client.create_collection("docs", vectors_config=parameters)
        self.client.upload_collection("docs", vectors=base, ids=range(len(base)))

    def query(self, vector, setting):
        found = self.client.query_points("docs", query=vector, limit=LIMIT, with_payload=False)
        return [point.id for point in found.points]

    def batch(self, vectors, setting):
        requests = [self.models.QueryRequest(query=vector.tolist(), limit=LIMIT) for vector in vectors]
        found = self.client.query_batch_points("docs", requests)
        return [[point.id for point in answer.points] for answer in found]


class LanceDB(Peer):
    package = module = "lancedb"
    how = "`HnswFlat` (HNSW on float32), one partition"
    setting, settings = "ef", (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)

    def ingest(self, folder, base):
        import lancedb
        import pyarrow as pa
        from lancedb.index import HnswFlat

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(base.ravel()), base.shape[1])
        rows = pa.table({"id": np.arange(len(base)), "vector": vectors})
        self.table = lancedb.connect(folder).create_table("docs", rows)
        self.table.create_index("vector", config=HnswFlat(distance_type="cosine", num_partitions=1))

    def query(self, vector, setting):
        search = self.table.search(vector).distance_type("cosine").limit(LIMIT).ef(setting)
        return search.select(["id", "_distance"]).to_arrow()["id"].to_numpy()

    def batch(self, vectors, setting):
        search = self.table.search(vectors).distance_type("cosine").limit(LIMIT).ef(setting)
        return (
            search.select(["id", "_distance"])
            .to_arrow()
            .sort_by("query_index")["id"]
            .to_numpy()
            .reshape(-1, LIMIT)
        )


class Chroma(Peer):
    package = module = "chromadb"
    how = "HNSW on float32, `max_neighbors` 16, `ef_construction` 100"
    setting, settings = "ef_search", (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)

    def ingest(self, folder, base):
        import chromadb

        client = chromadb.PersistentClient(folder, chromadb.Settings(anonymized_telemetry=False))
        configuration = {"hnsw": {"space": "cosine"}}
        self.docs = client.create_collection("docs", configuration=configuration, embedding_function=None)
        for first in range(0, len(base), 5000):
            rows = base[first : first + 5000]
            self.docs.add(ids=[str(first + at) for at in range(len(rows))], embeddings=rows)

    def query(self, vector, setting):
        return self.docs.query(query_embeddings=[vector], n_results=LIMIT, include=[])["ids"][0]

    def batch(self, vectors, setting):
        return self.docs.query(query_embeddings=vectors, n_results=LIMIT, include=[])["ids"]

    def prepare(self, setting):
        import chromadb
        from chromadb.api.client import SharedSystemClient

        # The setting is read when the index is loaded.
        self.docs.modify(configuration={"hnsw": {"ef_search": setting}})
        SharedSystemClient.clear_system_cache()
        client = chromadb.PersistentClient(self.folder, chromadb.Settings(anonymized_telemetry=False))
        self.docs = client.get_collection("docs", embedding_function=None)


PEERS: dict[str, type[Peer]] = {
    peer.package: peer for peer in (Lanner, QdrantEdge, LanceDB, Chroma, QdrantLocal)
}


def lines(peer: type[Peer]) -> int:
    """Lines of code of a peer's `ingest`, `query` and `batch`, without blank ones and comments."""
    count = 0
    for function in (peer.ingest, peer.query, peer.batch):
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        used = {line for node in ast.walk(tree) if (line := getattr(node, "lineno", None))}
        ends = {line for node in ast.walk(tree) if (line := getattr(node, "end_lineno", None))}
        count += len(used | ends)
    return count


def calls(peer: Peer, queries: np.ndarray, size: int, setting: Any) -> Iterator[Callable[[], Any]]:
    """The calls that answer all queries, so many a call."""
    for first in range(0, len(queries), size):
        part = queries[first : first + size]
        if size == 1:
            yield lambda part=part: peer.query(part[0], setting)
        else:
            yield lambda part=part: peer.batch(part, setting)


def recall(found: list[list[int]], exact: np.ndarray) -> float:
    shared = [len(set(row) & set(best[:LIMIT])) for row, best in zip(found, exact.tolist())]
    return sum(shared) / (LIMIT * len(found))


def rate(peer: Peer, queries: np.ndarray, size: int, setting: Any) -> float:
    """Queries a second, over whole passes of all queries."""
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        for call in calls(peer, queries, size, setting):
            call()
        done += len(queries)
    return done / elapsed


def measure(name: str, data: Path, folder: str) -> dict[str, Any]:
    """One peer, in this process."""
    base = np.load(data / "base.f16.npy").astype(np.float32)
    queries = np.load(data / "queries_id.f32.npy")
    exact = np.load(data / "groundtruth_cosine_top100_id.i32.npy")
    peer = PEERS[name]()
    peer.folder = folder
    importlib.import_module(peer.module)
    started = time.perf_counter()
    peer.ingest(folder, base)
    found: dict[str, Any] = {"ingest_seconds": time.perf_counter() - started, "at": {}}
    gc.collect()
    started = time.perf_counter()
    peer.prepare(peer.settings[0])
    peer.query(queries[0], peer.settings[0])
    peer.query(queries[1], peer.settings[0])
    if time.perf_counter() - started > 2 * SLOW_SECONDS:
        queries = queries[:FEW]
    for setting in peer.settings:
        peer.prepare(setting)
        rows = [peer.rows(call()) for call in calls(peer, queries, 1, setting)]
        reached = recall(rows, exact)
        targets = [target for target in TARGETS if reached >= target and str(target) not in found["at"]]
        if not targets:
            continue
        batches = [peer.rows(row) for call in calls(peer, queries, BATCH, setting) for row in call()]
        measured = {
            "setting": setting,
            "recall": reached,
            "batch_recall": recall(batches, exact),
            "single": rate(peer, queries, 1, setting),
            "batch": rate(peer, queries, BATCH, setting),
        }
        found["at"] |= {str(target): measured for target in targets}
        if len(found["at"]) == len(TARGETS):
            break
    return found


def run(name: str, data: Path, cores: int) -> dict[str, Any]:
    """One peer, in a process of its own that has so many cores."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--data", str(data), "--peer", name, "--folder", folder]
        chosen = sorted(os.sched_getaffinity(0))[:cores]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, chosen), check=True
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def machine() -> str:
    """The processor and its vector instructions."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    fields = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    vectors = [name for name in ("avx2", "avx512f", "avx512_vnni") if name in fields["flags"].split()]
    return f"{fields['model name']} ({', '.join(vectors)}), Python {platform.python_version()}"


def table(results: dict[str, Any]) -> str:
    """The medians, in Markdown."""

    def median(rounds: list[dict[str, Any]], *path: str) -> float | None:
        values = []
        for value in rounds:
            for key in path:
                value = value.get(key, {})
            if value != {}:
                values.append(float(value))  # type: ignore[arg-type]
        return statistics.median(values) if values else None

    def speed(rounds: list[dict[str, Any]], target: float) -> str:
        found = median(rounds, "at", str(target), "single")
        if found is None:
            return "not reached"
        batch, of = median(rounds, "at", str(target), "batch"), median(rounds, "at", str(target), "recall")
        setting = rounds[-1]["at"][str(target)]["setting"]
        shown = "" if setting is None else f" ({', '.join(map(str, np.atleast_1d(setting).tolist()))})"
        return f"{found:,.0f} / {batch:,.0f} at {of:.3f}{shown}"

    heads = ["package", "how", "setting", "lines", "ingest, s", *(f"QPS at ≥ {target}" for target in TARGETS)]
    rows = []
    for key, rounds in results.items():
        name, cores = key.split(" on ")
        peer = PEERS[name]
        rows.append(
            (
                int(cores.split()[0]),
                [
                    f"{name} {importlib.metadata.version(name)}, {cores}",
                    peer.how,
                    peer.setting,
                    str(lines(peer)),
                    f"{median(rounds, 'ingest_seconds'):,.1f}",
                    *(speed(rounds, target) for target in TARGETS),
                ],
            )
        )
    shown = [heads, ["---"] * len(heads), *(row for _, row in sorted(rows, key=lambda row: row[0]))]
    return "\n".join("| " + " | ".join(row) + " |" for row in shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, help="file of rounds; those of this run are added")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer is not None:
        print(json.dumps(measure(arguments.peer, arguments.data, arguments.folder)))
        return
    results: dict[str, Any] = {}
    if arguments.results is not None and arguments.results.exists():
        results = json.loads(arguments.results.read_text())
    for number in range(arguments.rounds):
        # Each begins a round in turn.
        start = number % len(arguments.only)
        for name in arguments.only[start:] + arguments.only[:start]:
            for cores in arguments.cores:
                found = run(name, arguments.data, cores)
                results.setdefault(f"{name} on {cores} core{'s' * (cores > 1)}", []).append(found)
                print(name, cores, json.dumps(found), file=sys.stderr)
                if arguments.results is not None:
                    arguments.results.write_text(json.dumps(results, indent=1))
    print(machine())
    print(table(results))


if __name__ == "__main__":
    main()
