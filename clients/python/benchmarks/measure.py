"""What the Python package costs: import, calls, batches, writes. Prints a table for docs/python.md.

    python clients/python/benchmarks/measure.py --base base.npy --queries queries.npy \
        --lanner target/release/lanner

Compares batches and single queries with `lanner bench` on the same vectors, settings and threads, in the
same run, and writes as many bytes as the vectors have.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="[points, dimension]")
    parser.add_argument("--queries", type=Path, required=True, help="[queries, dimension]")
    parser.add_argument("--lanner", type=Path, help="the program, to compare with")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    base, queries = np.load(arguments.base), np.load(arguments.queries)
    report: dict[str, object] = {"import_ms": round(import_ms(), 1)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = write_rates(base.astype(np.float32), folder)
        report |= {f"upsert_{durability}_mb_s": round(found) for durability, found in rates.items()}
        with lanner.open(folder / "db", threads=arguments.threads) as db:
            docs = db.create_collection("docs", {"v": lanner.vector(base.shape[1], index="graph")})
            docs.upsert(ids=np.arange(len(base)), vectors={"v": base}, durability="buffered")
            docs.optimize(progress=False)
            exact = docs.batch_query("v", queries, limit=LIMIT, exact=True).ids
            found = docs.batch_query("v", queries, limit=LIMIT, target_recall=TARGET).ids
            report["recall"] = round(
                float(np.mean([len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist())]))
                / LIMIT,
                4,
            )
            batches = [queries[at : at + BATCH] for at in range(0, len(queries) - BATCH + 1, BATCH)]
            report["batch_qps"] = round(
                rate(
                    lambda at: (
                        docs.batch_query(
                            "v", batches[at % len(batches)], limit=LIMIT, target_recall=TARGET
                        ).ids
                    ),
                    BATCH,
                )
            )
            report["single_qps"] = round(
                rate(
                    lambda at: docs.query("v", queries[at % len(queries)], limit=LIMIT, target_recall=TARGET),
                    1,
                )
            )
            empty = db.create_collection("one", {"v": lanner.vector(base.shape[1], compression=None)})
            empty.upsert(ids=[1], vectors={"v": base[:1]})
            report["call_us"] = round(1e6 / rate(lambda at: empty.query("v", queries[0]), 1), 2)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
