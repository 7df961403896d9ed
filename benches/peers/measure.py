"""How time, recall and memory are measured: the same for every engine.

*single* is one query a call, *batch* all queries in one call. Peers are called from Python, whose
call overhead (1 to 3 microseconds) is part of their time in *single*; nothing is subtracted.
"""

import gc
import os
import threading
import time
from pathlib import Path

import numpy as np

from datasets import recall

K = 10
TARGETS = (0.90, 0.95, 0.99)
#: For queries of another distribution than the base's.
OTHER_TARGET = 0.95
#: Pause between runs of a measurement, so that they do not all fall into the same bad moment.
REST_SECONDS = 0.05
#: Settings timed for each target: the fastest by a first look, which is too short to decide alone.
CONTENDERS = 2
#: Settings timed for the plot, up to the recall where it ends.
CURVE_POINTS, CURVE_END = 6, 0.998
#: The sweep ends here even if targets are left.
SLOWEST_QPS = 500


def memory_mb():
    """Resident memory of this process now, and the most it ever was, in MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in status)
    return {name: int(values[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}


def machine_ticks():
    """Ticks since the start: busy, stolen by the host, of this process, and all there were."""
    line = Path("/proc/stat").read_text().split("\n")[0]
    ticks = [int(value) for value in line.split()[1:9]]
    idle, stolen = ticks[3] + ticks[4], ticks[7]
    own = sum(os.times()[:2]) * os.sysconf("SC_CLK_TCK")
    return np.array([sum(ticks) - idle - stolen, stolen, own, sum(ticks)])


class Noise:
    """Whether the machine was ours: the share of time that others took in this machine and on its
    host, and the speed of an exact scan, which should not change.
    """

    def __init__(self):
        self.start = machine_ticks()
        self.scans = []
        self.rows = np.ones((20_000, 384), dtype=np.float32)
        self.query = np.ones(384, dtype=np.float32)

    def scan(self):
        best = min(self._timed() for _ in range(5))
        self.scans.append(self.rows.nbytes / best / 1e9)

    def _timed(self):
        started = time.perf_counter()
        self.rows @ self.query
        return time.perf_counter() - started

    def report(self):
        busy, stolen, own, total = machine_ticks() - self.start
        return {
            "others_share": float(max(0, busy - own) / max(1, total)),
            "stolen_share": float(stolen / max(1, total)),
            "scan_gb_s_min": min(self.scans),
            "scan_gb_s_max": max(self.scans),
        }


def look(searcher, setting, dataset_queries, truths):
    """First look at a setting: recall on each query set, and seconds for a batch of the first."""
    searcher.apply(setting)
    seconds, recalls = None, {}
    for query_set, queries in dataset_queries.items():
        spent, found = timed_batch(searcher, queries)
        if seconds is None:
            again, _ = timed_batch(searcher, queries)
            seconds = min(spent, again)
        recalls[query_set] = float(recall(found, truths[query_set], K))
    return {"setting": setting, "recall": recalls, "seconds": seconds}


def finds_enough(recalls):
    """Whether slower settings would add nothing to tables and plots."""
    return all(
        value >= (0.995 if query_set == "id" else OTHER_TARGET)
        for query_set, value in recalls.items()
    )


def stalled(looks, queries):
    """Whether recall has stopped to grow (the codes give no more, or there is no more to find), or the
    search is too slow to matter.
    """
    recalls = [seen["recall"]["id"] for seen in looks]
    if queries / looks[-1]["seconds"] < SLOWEST_QPS:
        return True
    return len(recalls) > 12 and max(recalls[-6:]) - max(recalls[:-6]) < 0.0005


def contenders(looks, query_set):
    """Settings worth timing: for each target the fastest that reach it, and the front as a curve."""
    chosen = []
    for target in TARGETS if query_set == "id" else (OTHER_TARGET,):
        reach = [seen for seen in looks if seen["recall"][query_set] >= target]
        chosen += sorted(reach, key=lambda seen: seen["seconds"])[:CONTENDERS]
    if query_set == "id":
        line = [seen for seen in front(looks, "id") if seen["recall"]["id"] <= CURVE_END]
        picked = np.linspace(0, len(line) - 1, min(CURVE_POINTS, len(line))).round().astype(int)
        chosen += [line[position] for position in picked]
    unique = {str(seen["setting"]): seen for seen in chosen}
    return sorted(unique.values(), key=lambda seen: seen["seconds"])


def front(looks, query_set):
    """Settings that no other beats in both recall and time, fastest first."""
    best, line = -1.0, []
    for seen in sorted(looks, key=lambda seen: seen["seconds"]):
        if seen["recall"][query_set] > best:
            best = seen["recall"][query_set]
            line.append(seen)
    return line


def timed_batch(searcher, queries):
    gc.disable()
    started = time.perf_counter()
    raw = searcher.batch(queries)
    seconds = time.perf_counter() - started
    gc.enable()
    return seconds, searcher.rows(raw)


def timed_single(searcher, queries):
    """Seconds for all queries one after the other, with the latency of each."""
    parts = [queries[row : row + 1] for row in range(len(queries))]
    if searcher.flat_query:
        parts = [np.ascontiguousarray(part[0]) for part in parts]
    latencies = np.empty(len(parts), dtype=np.int64)
    clock, one = time.perf_counter_ns, searcher.one
    gc.disable()
    for number, part in enumerate(parts):
        started = clock()
        one(part)
        latencies[number] = clock() - started
    gc.enable()
    return latencies.sum() / 1e9, latencies


def timed_single_threads(searcher, queries, threads):
    """Seconds for all queries, one at a time from each of so many Python threads."""
    shares = np.array_split(queries, threads)
    barrier = threading.Barrier(threads + 1)

    def ask(share):
        searcher.enter_thread()
        barrier.wait()
        timed_single(searcher, share)

    workers = [threading.Thread(target=ask, args=(share,)) for share in shares]
    for worker in workers:
        worker.start()
    barrier.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    return time.perf_counter() - started


def measure(searcher, chosen, queries, threads, runs, noise):
    """All runs of all settings, round by round, with rests; a row for each setting."""
    rows = [
        {"setting": seen["setting"], "batch": [], "single": [], "latencies": None}
        for seen in chosen
    ]
    for _ in range(runs):
        noise.scan()
        for row in rows:
            searcher.apply(row["setting"])
            searcher.batch(queries[:100])
            time.sleep(REST_SECONDS)
            row["batch"].append(timed_batch(searcher, queries)[0])
            if threads > 1:
                if searcher.concurrent:
                    row["single"].append(timed_single_threads(searcher, queries, threads))
                continue
            seconds, latencies = timed_single(searcher, queries)
            if not row["single"] or seconds < min(row["single"]):
                row["latencies"] = latencies
            row["single"].append(seconds)
    return [summary(row, seen, len(queries)) for row, seen in zip(rows, chosen)]


def summary(row, seen, count):
    """QPS of the best run of each shape, the worst beside it to show the noise, and percentiles."""
    result = {"setting": row["setting"], "recall": seen["recall"]}
    for shape in ("single", "batch"):
        if not row[shape]:
            continue
        result[f"qps_{shape}"] = count / min(row[shape])
        result[f"qps_{shape}_worst"] = count / max(row[shape])
    if row["latencies"] is not None:
        p50, p99 = np.percentile(row["latencies"], [50, 99]) / 1e6
        result |= {"p50_ms": float(p50), "p99_ms": float(p99)}
    return result
