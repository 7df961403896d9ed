"""What the Python package costs: import, calls, batches, writes. Prints a table for docs/python.md.

    python clients/python/benchmarks/measure.py --base base.npy --queries queries.npy \
        --lanner target/release/lanner

Compares single queries and batches of 100 with `lanner bench` on the same vectors and settings, on one thread and
on one a core, in turns: of each the median of three, and of what each turn measures the best of three passes
over all queries, as `lanner bench` takes its own. Writes as many bytes as the vectors have.
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
TURNS, PASSES = 3, 3
CALLS = 100_000


def import_ms() -> float:
    """Median time of `import lanner` over that of an empty program, in milliseconds."""

    def run(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return 1000 * (time.perf_counter() - started)

    pairs = [(run("import lanner"), run("pass")) for _ in range(9)]
    return statistics.median(full for full, _ in pairs) - statistics.median(empty for _, empty in pairs)


def rate(call, calls: int, items: int) -> float:
    """Items a second: the best of some passes of so many calls."""

    def run() -> float:
        started = time.perf_counter()
        for at in range(calls):
            call(at)
        return calls * items / (time.perf_counter() - started)

    return max(run() for _ in range(PASSES))


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
    batch = rate(lambda at: docs.batch_query("v", batches[at], **options).ids, len(batches), BATCH)
    single = rate(lambda at: docs.query("v", queries[at], **options), len(queries), 1)
    return {"recall": float(np.mean(shared)) / LIMIT, "batch_qps": batch, "single_qps": single}


def call_us(db: lanner.Database, base: np.ndarray, queries: np.ndarray) -> float:
    """Time of a query among one point, in microseconds."""
    one = db.create_collection("one", {"v": lanner.vector(base.shape[1], compression=None)})
    one.upsert(ids=[1], vectors={"v": base[:1]})
    return round(1e6 / rate(lambda _: one.query("v", queries[0]), CALLS, 1), 2)


def by_the_program(program: Path, base: Path, queries: Path, folder: Path) -> list[dict[str, float]]:
    """The same of `lanner bench`, on one core and on all."""
    report = folder / "bench.json"
    # No query is known in either, and all of them are measured.
    options = ["--compression", "auto", "--index", "graph", "--target-recall", TARGET, "--batch", BATCH]
    options.append("--unlearned")
    command = [program, "bench", "--base", base, "--queries", queries, *options, "--json", report]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    [found] = json.loads(report.read_text())
    names = [("qps_batch_single", "qps_single"), ("qps_batch_all", "qps_all")]
    return [
        {"recall": found["recall"], "batch_qps": found[batch], "single_qps": found[single]}
        for batch, single in names
    ]


def medians(turns: list[dict[str, float]]) -> dict[str, float]:
    """Of each measurement the median."""
    median = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    return {name: round(value, 4 if name == "recall" else None) for name, value in median.items()}


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
        # `lanner bench` measures nothing in the background by the queries that come.
        kinds = {"one_thread": (1, 0), "all_threads": (0, 0), "all_threads_and_recent_queries": (0, 1_024)}
        turns: dict[str, list[dict[str, float]]] = {}
        for turn in range(TURNS):
            for kind, (threads, recent) in kinds.items():
                with lanner.open(folder / f"{kind}{turn}", threads=threads) as db:
                    field = lanner.vector(base.shape[1], index="graph", recent_queries=recent)
                    docs = db.create_collection("docs", {"v": field})
                    docs.upsert(ids=np.arange(len(base)), vectors={"v": base}, durability="buffered")
                    docs.optimize(progress=False)
                    turns.setdefault(kind, []).append(query_rates(docs, queries))
                    if threads == 1:
                        report["call_us"] = call_us(db, base, queries)
            if arguments.lanner is not None:
                found = by_the_program(arguments.lanner, arguments.base, arguments.queries, folder)
                for name, rates in zip(("bench_one_thread", "bench_all_threads"), found):
                    turns.setdefault(name, []).append(rates)
        report |= {name: medians(rates) for name, rates in turns.items()}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
