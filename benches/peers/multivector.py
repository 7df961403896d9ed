"""Multi-vectors by public packages, on one core: what docs/multivector.md compares Lanner with.

    run.sh multivector DIR      DIR: corpus_tokens.i8.npy, queries_tokens.f32.npy, their offsets, and
                                groundtruth_maxsim_top100.i32.npy

- `muvfde`: encodings of documents and queries (20 × 2⁵ × 16), time of each.
- FAISS: product quantization of these encodings (8 bits for 8 dimensions, as in the MUVERA paper),
  scanned: the share of the exact MaxSim ten among the first n candidates, time of a query.
- numpy: exact MaxSim of all documents, time of a query.
"""

import sys
import time
from pathlib import Path

import faiss
import muvfde
import numpy as np

CANDIDATES = (10, 20, 50, 100, 200, 500, 1000)
RUNS = 3


def main(folder):
    faiss.omp_set_num_threads(1)
    tokens = np.load(folder / "corpus_tokens.i8.npy").astype(np.float32) / np.float32(127)
    starts = np.load(folder / "corpus_tokens_offsets.i64.npy")
    queries = np.load(folder / "queries_tokens.f32.npy")
    query_starts = np.load(folder / "queries_tokens_offsets.i64.npy")
    truth = np.load(folder / "groundtruth_maxsim_top100.i32.npy")[:, :10]
    documents = [tokens[a:b] for a, b in zip(starts, starts[1:])]
    queries = [queries[a:b] for a, b in zip(query_starts, query_starts[1:])]
    encoded, document_seconds = encode(documents, document=True)
    asked, query_seconds = encode(queries, document=False)
    print(f"muvfde: {len(documents) / document_seconds:,.0f} documents/s, "
          f"{query_seconds / len(queries) * 1e6:.0f} µs a query")
    print("candidates", *CANDIDATES)
    exact = asked @ encoded.T
    print("muvfde, f32:", *shares(np.argsort(-exact, axis=1, kind="stable"), truth))
    quantized(encoded, asked, truth)
    numpy_max_sim(tokens, starts, queries)


def encode(texts, document):
    # Chained setters lose the object in this wheel.
    config = muvfde.fixed_dimensional_encoding_config()
    config.set_num_repetitions(20)
    config.set_num_simhash_projections(5)
    config.set_seed(42)
    kinds = muvfde.encoding_type
    config.set_encoding_type(kinds.AVERAGE if document else kinds.DEFAULT_SUM)
    config.set_projection_type(muvfde.projection_type.AMS_SKETCH)
    config.set_projection_dimension(16)
    if document:
        config.enable_fill_empty(True)
    started = time.perf_counter()
    encodings = [muvfde.generate_fixed_dimensional_encoding(text, config) for text in texts]
    return np.array(encodings, dtype=np.float32), time.perf_counter() - started


def shares(order, truth):
    ranks = np.argsort(order, axis=1)
    of_truth = np.take_along_axis(ranks, truth, axis=1)
    return [f"{(of_truth < candidates).mean():.3f}" for candidates in CANDIDATES]


def quantized(encoded, asked, truth):
    dimension = encoded.shape[1]
    index = faiss.IndexPQ(dimension, dimension // 8, 8, faiss.METRIC_INNER_PRODUCT)
    started = time.perf_counter()
    index.train(encoded)
    trained = time.perf_counter() - started
    index.add(encoded)
    search = lambda: [index.search(query[None], len(encoded))[1][0] for query in asked]
    order = np.array(search())
    seconds = fastest(lambda: [index.search(query[None], 1000) for query in asked])
    print(f"FAISS PQ, {index.sa_code_size()} bytes:", *shares(order, truth),
          f"trained in {trained:.1f} s, {seconds / len(asked) * 1e3:.2f} ms a query")


def numpy_max_sim(tokens, starts, queries):
    score = lambda query: np.maximum.reduceat(query @ tokens.T, starts[:-1], axis=1).sum(axis=0)
    seconds = fastest(lambda: [score(query) for query in queries])
    print(f"numpy, exact MaxSim: {seconds / len(queries) * 1e3:.1f} ms a query")


def fastest(run):
    def timed():
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return min(timed() for _ in range(RUNS))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
