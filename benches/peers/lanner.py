"""Lanner, through `lanner bench`: the binary measures itself, in Rust, without Python's overhead."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from engines import windows
from measure import K

ROOT = Path(__file__).resolve().parents[2]
COMPRESSIONS = ("auto", "lvq8", "lvq4x8")
INDEXES = ("graph", "ivf")
RERANKS = (10, 20, 50)


def run(dataset, quick, runs, environment):
    """Results of all indexes, in the shape that peers.py writes for the others."""
    points = {
        query_set: bench(dataset, query_set, quick, runs, environment) for query_set in dataset.sets
    }
    names = list(dict.fromkeys(point["index"] for point in points["id"]))
    return [result(name, points, dataset, quick) for name in names]


def binary():
    named = os.environ.get("LANNER")
    folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = Path(named) if named else folder / "release" / "lanner"
    if not path.exists():
        raise SystemExit(f"expected the binary in {path} (LANNER names another): cargo build --release")
    return path


def bench(dataset, query_set, quick, runs, environment):
    with tempfile.NamedTemporaryFile(suffix=".json") as output:
        command = [binary(), "bench", "--base", dataset.base_path, "--metric", "cosine"]
        command += ["--queries", dataset.queries_path(query_set), "--k", K, "--runs", runs]
        command += ["--ground-truth", dataset.truth_path(query_set), "--json", output.name]
        command += arguments(quick)
        subprocess.run([str(part) for part in command], env=environment, check=True)
        return [row(point) for point in json.load(output)]


def arguments(quick):
    """What is swept, unless LANNER_BENCH_ARGUMENTS says it."""
    named = os.environ.get("LANNER_BENCH_ARGUMENTS")
    if named is not None:
        return named.split()
    swept = []
    for compression in COMPRESSIONS[:1] if quick else COMPRESSIONS:
        swept += ["--compression", compression]
    for index in INDEXES[:1] if quick else INDEXES:
        swept += ["--index", index]
    sizes = ",".join(map(str, windows(True, low=4, high=300)))
    reranks = ",".join(map(str, RERANKS[1:2] if quick else RERANKS))
    return [*swept, "--search-window", sizes, "--rerank", reranks, "--target-recall", "0.9,0.95,0.99"]


def row(point):
    """One point of `lanner bench --json` under the names used here. The only place that knows both."""
    latency = point["latency_ms"]
    return {
        "index": point["index"],
        "setting": {"": point["setting"]},
        "recall": point["recall"],
        "qps_single": point["qps_single"],
        "qps_single_all": point["qps_all"],
        "qps_batch": point["qps_batch_single"],
        "qps_batch_all": point["qps_batch_all"],
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "build_seconds": point["build_seconds"],
        "build_threads": point["cores"],
        "bytes_per_vector": point["bytes_per_vector"],
    }


def result(name, points, dataset, quick):
    of_index = {
        query_set: [point for point in found if point["index"] == name]
        for query_set, found in points.items()
    }
    first = of_index["id"][0]
    return {
        "engine": "lanner",
        "family": f"Lanner {name}",
        "index": "",
        "quick": quick,
        # Its build ends with everything on disk.
        "built": {
            "build_seconds": first["build_seconds"],
            "save_seconds": 0.0,
            "build_threads": first["build_threads"],
            "disk_mb": first["bytes_per_vector"] * dataset.shape()[0] / 2**20,
        },
        # It searches in the process that built the index, so that its memory says nothing.
        "one": {"rows": rows(of_index, ""), "index_rss_mb": None},
        "all": {"rows": rows(of_index, "_all")},
    }


def rows(of_index, suffix):
    return {
        query_set: [
            {
                "setting": point["setting"],
                "recall": {query_set: point["recall"]},
                "p50_ms": point["p50_ms"],
                "p99_ms": point["p99_ms"],
            }
            | {f"qps_{shape}": point[f"qps_{shape}{suffix}"] for shape in ("single", "batch")}
            for point in found
        ]
        for query_set, found in of_index.items()
    }
