"""Builds or searches one index in a process of its own, so that memory and caches are its own.

    worker.py build  DATASET ENGINE KEY THREADS OPTIONS
    worker.py search DATASET ENGINE KEY THREADS OPTIONS

OPTIONS is JSON; the result goes to the file that its `result` names.
"""

import json
import sys
import time
from pathlib import Path

import measure
from datasets import DATASETS
from engines import engine, judged


def main():
    action, dataset, name, key, threads, options = sys.argv[1:]
    dataset, options, module = DATASETS[dataset], json.loads(options), engine(name)
    [variant] = [each for each in module.variants(dataset, False) if each.key == key]
    act = {"build": build, "search": search}[action]
    result = act(module, variant, dataset, int(threads), options)
    Path(options["result"]).write_text(json.dumps(result))


def build(module, variant, dataset, threads, options):
    folder = Path(options["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    base = dataset.base()
    noise = measure.Noise()
    noise.scan()
    before = measure.memory_mb()["VmRSS"]
    started = time.perf_counter()
    index = module.build(variant, dataset, base, threads, folder)
    seconds = time.perf_counter() - started
    memory = measure.memory_mb()
    started = time.perf_counter()
    module.save(index, folder)
    noise.scan()
    return {
        "build_seconds": seconds,
        "save_seconds": time.perf_counter() - started,
        "build_threads": threads,
        "build_rss_mb": memory["VmRSS"] - before,
        "build_peak_mb": memory["VmHWM"] - before,
        "disk_mb": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20,
        "noise": noise.report(),
    }


def search(module, variant, dataset, threads, options):
    queries = {each: judged(variant, dataset, each, dataset.queries(each)) for each in dataset.sets}
    truths = {each: judged(variant, dataset, each, dataset.truth(each)) for each in dataset.sets}
    noise = measure.Noise()
    noise.scan()
    before = measure.memory_mb()["VmRSS"]
    searcher = module.Searcher(variant, dataset, Path(options["folder"]), threads)
    chosen = options.get("chosen")
    if hasattr(searcher, "tune"):
        searcher.tune(queries["id"])
    if chosen is None:
        looks = look_at_all(searcher, queries, truths, options["quick"])
        chosen = {
            query_set: measure.contenders(looks, query_set) for query_set in dataset.sets
        }
    rows = {
        query_set: measure.measure(
            searcher, seen, queries[query_set], threads, options["runs"], noise
        )
        for query_set, seen in chosen.items()
    }
    # Measured after the searches: what they touched is resident, mapped or not.
    resident = measure.memory_mb()["VmRSS"] - before
    return {
        "threads": threads,
        "rows": rows,
        "chosen": chosen,
        "index_rss_mb": resident,
        "prefetch": getattr(searcher, "prefetch", None),
        "noise": noise.report(),
    }


def look_at_all(searcher, queries, truths, quick):
    """Every setting, from fast to slow, until some in a row find enough or no more than others."""
    looks, full, count = [], 0, len(queries["id"])
    for setting in searcher.settings(quick):
        looks.append(measure.look(searcher, setting, queries, truths))
        full = full + 1 if measure.finds_enough(looks[-1]["recall"]) else 0
        if full == searcher.patience or measure.stalled(looks, count):
            break
    return looks


if __name__ == "__main__":
    main()
