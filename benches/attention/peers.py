"""Peers on the sets of attention, beside the results of Lanner: one core, one query at a time.

For each index the cheapest setting with recall@100 of at least 0.95, or the best there is. The
share of keys scored is known for FAISS only. No peer but the graph of RoarGraph, which has no
package, knows queries: they are built from keys alone.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import faiss
import hnswlib
import numpy as np
import svs

K = 100
GOAL = 0.95
MAX_QUERIES = 300


def timed(run, *arguments):
    start = time.perf_counter()
    result = run(*arguments)
    return result, time.perf_counter() - start


def measure(search, queries, truth):
    """Recall, and the median time of a query in µs."""
    hits, times = 0, []
    for query, nearest in zip(queries, truth):
        found, seconds = timed(search, query[None])
        hits += len(np.intersect1d(found, nearest))
        times.append(seconds)
    return hits / truth.size, 1e6 * float(np.median(times))


def sweep(search, settings, queries, truth, scored=lambda: None):
    best = None
    for setting in settings:
        before = scored()
        recall, us = measure(partial(search, setting), queries, truth)
        share = None if before is None else scored()
        row = {"setting": str(setting), "recall": recall, "scored": share, "us": us}
        if best is None or recall > best["recall"]:
            best = row
        if recall >= GOAL:
            break
    return best


def faiss_flat(keys, queries, truth):
    index = faiss.IndexFlatIP(keys.shape[1])
    _, seconds = timed(lambda: index.add(keys))
    recall, us = measure(lambda query: index.search(query, K)[1], queries, truth)
    return {
        "engine": "faiss full scan",
        "build_s": seconds,
        "recall": recall,
        "scored": 1.0,
        "us": us,
        "setting": "",
    }


def faiss_ivf(keys, queries, truth):
    lists = 4 * int(np.sqrt(len(keys)))
    quantizer = faiss.IndexFlatIP(keys.shape[1])
    index = faiss.IndexIVFFlat(quantizer, keys.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    index.cp.max_points_per_centroid = 64
    _, seconds = timed(lambda: (index.train(keys), index.add(keys)))
    stats = faiss.cvar.indexIVF_stats

    def search(probes, query):
        index.nprobe = probes
        return index.search(query, K)[1]

    def scored():
        share = stats.ndis / max(stats.nq, 1) / len(keys)
        stats.reset()
        return share

    row = sweep(search, [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384], queries, truth, scored)
    return {"engine": f"faiss IVF {lists}", "build_s": seconds, **row}


def faiss_hnsw(keys, queries, truth):
    index = faiss.IndexHNSWFlat(keys.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    _, seconds = timed(lambda: index.add(keys))
    stats = faiss.cvar.hnsw_stats

    def search(ef, query):
        index.hnsw.efSearch = ef
        return index.search(query, K)[1]

    def scored():
        share = stats.ndis / len(keys) / len(queries)
        stats.reset()
        return share

    row = sweep(search, [100, 150, 200, 400, 800, 1600, 3200], queries, truth, scored)
    return {"engine": "faiss HNSW 16", "build_s": seconds, **row}


def hnsw(keys, queries, truth):
    index = hnswlib.Index(space="ip", dim=keys.shape[1])
    index.init_index(len(keys), M=16, ef_construction=100)
    _, seconds = timed(lambda: index.add_items(keys, num_threads=1))

    def search(ef, query):
        index.set_ef(ef)
        return index.knn_query(query, k=K, num_threads=1)[0]

    return {
        "engine": "hnswlib 16",
        "build_s": seconds,
        **sweep(search, [100, 150, 200, 400, 800, 1600, 3200], queries, truth),
    }


def vamana(keys, queries, truth):
    parameters = svs.VamanaBuildParameters(alpha=0.95, graph_max_degree=32, window_size=100)
    index, seconds = timed(lambda: svs.Vamana.build(parameters, keys, svs.DistanceType.MIP, num_threads=1))

    def search(window, query):
        index.search_window_size = window
        return index.search(query, K)[0]

    return {
        "engine": "SVS Vamana 32",
        "build_s": seconds,
        **sweep(search, [100, 150, 200, 400, 800, 1600, 3200], queries, truth),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lanner", type=Path, help="results of cargo bench --bench attention")
    parser.add_argument("--only", nargs="*", help="names of sets")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    lines = arguments.lanner.read_text().splitlines() if arguments.lanner else []
    results = [json.loads(line) for line in lines]
    print("| set | index | recall@100 | keys scored | µs a query | build, s |\n|---|---|---|---|---|---|")
    for folder in sorted(path.parent for path in arguments.folder.glob("*/test.npy")):
        if arguments.only and folder.name not in arguments.only:
            continue
        keys, queries = (np.ascontiguousarray(np.load(folder / f"{part}.npy")) for part in ("keys", "test"))
        queries = queries[:: -(-len(queries) // MAX_QUERIES)]
        products = queries @ keys.T
        truth = np.argpartition(-products, K, axis=1)[:, :K]
        rows = [row for row in results if row["set"] == folder.name]
        for engine in (faiss_flat, faiss_ivf, faiss_hnsw, hnsw, vamana):
            rows.append(engine(keys, queries, truth))
        for row in rows:
            share = "–" if row.get("scored") is None else f"{100 * row['scored']:.1f}%"
            print(
                f"| {folder.name} | {row['engine']} {row.get('setting', '')} | {row['recall']:.4f} | {share} "
                f"| {row['us']:.0f} | {row['build_s']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
