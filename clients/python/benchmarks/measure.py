"""What the Python package costs: import, calls, batches, writes. Prints a table for docs/python.md.

    python clients/python/benchmarks/measure.py --base base.npy --queries queries.npy \
        --lanner target/release/lanner

Compares single queries and batches of 100 with `lanner bench` on the same vectors, settings and one thread,
in the same run, and writes as many bytes as the vectors have.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import lanner

BATCH, LIMIT, TARGET = 100, 10, 0.95
SECONDS = 2.0


def import_ms() -> float:
    """Median time of `import lanner` over that of an empty program, in milliseconds."""

    def run(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return 1000 * (time.perf_counter() - started)

    pairs = [(run("import lanner"), run("pass")) for _ in range(9)]
    return statistics.median(full for full, _ in pairs) - statistics.median(empty for _, empty in pairs)


def rate(call, items: int) -> float:
    """Items a second: the best of five measurements, as `lanner bench` takes its own."""
    best = 0.0
    for _ in range(5):
        done, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < SECONDS / 5:
            call(done)
            done += 1
        best = max(best, done * items / elapsed)
    return best


def write_rates(base: np.ndarray, folder: Path) -> dict[str, float]:
    """Bytes written by a buffered and by a synced upsert, in MB/s."""
    rates = {}
    for durability in ("buffered", "synced"):
        with lanner.open(folder / durability) as db:
            docs = db.create_collection("docs", {"v": lanner.vector(base.shape[1], compression=None)})
            started = time.perf_counter()
            docs.upsert(ids=np.arange(len(base)), vectors={"v": base}, durability=durability)
            rates[durability] = base.nbytes / 1e6 / (time.perf_counter() - started)
    return rates


def query_rates(docs: lanner.Collection, queries: np.ndarray) -> dict[str, float]:
    """Recall, and queries a second in batches and one by one."""
    options = {"limit": LIMIT, "target_recall": TARGET}
    exact = docs.batch_query("v", queries, limit=LIMIT, exact=True).ids
    found = docs.batch_query("v", queries, **options).ids
    shared = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist())]
    batches = [queries[at : at + BATCH] for at in range(0, len(queries) - BATCH + 1, BATCH)]
    return {
        "recall": round(float(np.mean(shared)) / LIMIT, 4),
        "batch_qps": round(
            rate(lambda at: docs.batch_query("v", batches[at % len(batches)], **options).ids, BATCH)
        ),
        "single_qps": round(rate(lambda at: docs.query("v", queries[at % len(queries)], **options), 1)),
    }


def call_us(db: lanner.Database, base: np.ndarray, queries: np.ndarray) -> float:
    """Time of a query among one point, in microseconds."""
    one = db.create_collection("one", {"v": lanner.vector(base.shape[1], compression=None)})
    one.upsert(ids=[1], vectors={"v": base[:1]})
    return round(1e6 / rate(lambda at: one.query("v", queries[0]), 1), 2)


def by_the_program(program: Path, base: Path, queries: Path, folder: Path) -> dict[str, float]:
    """The same of `lanner bench`, on one core."""
    report = folder / "bench.json"
    options = ["--compression", "auto", "--index", "graph", "--target-recall", TARGET, "--batch", BATCH]
    command = [program, "bench", "--base", base, "--queries", queries, *options, "--json", report]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    [found] = json.loads(report.read_text())
    names = {"recall": "recall", "batch_qps": "qps_batch_single", "single_qps": "qps_single"}
    return {name: round(found[of], 4 if of == "recall" else None) for name, of in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="[points, dimension]")
    parser.add_argument("--queries", type=Path, required=True, help="[queries, dimension]")
    parser.add_argument("--lanner", type=Path, help="the program, to compare with")
    arguments = parser.parse_args()
    base, queries = np.load(arguments.base), np.load(arguments.queries)
    report: dict[str, object] = {"import_ms": round(import_ms(), 1)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = write_rates(base.astype(np.float32), folder)
        report |= {f"upsert_{durability}_mb_s": round(found) for durability, found in rates.items()}
        # As `lanner bench`: without recent queries, nothing is measured in the background by those that come.
        for kind, recent in (("python", 0), ("python_with_recent_queries", 1_024)):
            with lanner.open(folder / kind, threads=1) as db:
                field = lanner.vector(base.shape[1], index="graph", recent_queries=recent)
                docs = db.create_collection("docs", {"v": field})
                docs.upsert(ids=np.arange(len(base)), vectors={"v": base}, durability="buffered")
                docs.optimize(progress=False)
                report[kind] = query_rates(docs, queries)
                report["call_us"] = call_us(db, base, queries)
        if arguments.lanner is not None:
            report["lanner_bench"] = by_the_program(
                arguments.lanner, arguments.base, arguments.queries, folder
            )
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
