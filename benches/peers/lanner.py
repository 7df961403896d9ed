"""Lanner, through `lanner bench`: the binary measures itself, in Rust, without Python's overhead."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from measure import K

ROOT = Path(__file__).resolve().parents[2]
FAMILY = "Lanner"


def run(dataset, quick, runs, environment):
    """Results of all indexes, in the shape that peers.py writes for the others."""
    points = {query_set: bench(dataset, query_set, quick, runs, environment) for query_set in dataset.sets}
    names = list(dict.fromkeys(point["index"] for point in points["id"]))
    return [result(name, points, quick) for name in names]


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
        command += os.environ.get("LANNER_BENCH_ARGUMENTS", "").split()
        subprocess.run([str(part) for part in command], env=environment, check=True)
        return [row(point) for point in json.load(output)]


def row(point):
    """One point of `lanner bench --json` under the names used here. The only place that knows both."""
    latency = point.get("latency_ms") or {}
    return {
        "index": point["index"],
        "setting": {"search": point["setting"]},
        "recall": point["recall"],
        "qps_single": point["qps_single"],
        "qps_single_all": point["qps_all"],
        "qps_batch": point.get("qps_batch_single"),
        "qps_batch_all": point.get("qps_batch_all"),
        "p50_ms": latency.get("p50"),
        "p99_ms": latency.get("p99"),
        "build_seconds": point["build_seconds"],
        "build_threads": point["cores"],
        "index_rss_mb": point["rss_bytes"] / 2**20 if point.get("rss_bytes") else None,
    }


def result(name, points, quick):
    of_index = {
        query_set: [point for point in found if point["index"] == name]
        for query_set, found in points.items()
    }
    first = of_index["id"][0]
    return {
        "engine": "lanner",
        "family": FAMILY,
        "index": name,
        "quick": quick,
        # Its build ends with everything on disk.
        "built": {
            "build_seconds": first["build_seconds"],
            "save_seconds": 0.0,
            "build_threads": first["build_threads"],
        },
        "one": {"rows": rows(of_index, ""), "index_rss_mb": first["index_rss_mb"]},
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
            | shapes(point, suffix)
            for point in found
        ]
        for query_set, found in of_index.items()
    }


def shapes(point, suffix):
    """The shapes that were measured."""
    values = {f"qps_{shape}": point[f"qps_{shape}{suffix}"] for shape in ("single", "batch")}
    return {name: value for name, value in values.items() if value is not None}
