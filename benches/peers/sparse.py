"""Sparse vectors by public packages: what docs/sparse.md compares Lanner with.

    run.sh sparse DOCUMENTS          compares the engines
    run.sh sparse DOCUMENTS FOLDER   only writes documents.npz and queries.npz, as scipy.sparse.save_npz does

No weights of SPLADE come with a package, so the vectors are made, with the numbers of entries of SPLADE-v3 on
MS MARCO (about 120 a passage and 25 a question, of 30,522 dimensions): each of 2,000 topics has 400 dimensions,
drawn by Zipf's law, with weights of their own; a document has two topics and some dimensions of none, and a
query is about one document's. Fixed seed.

- Lanner: points through the Python package, embedded; seconds until they are sealed and merged.
- pyseismic-lsr: Seismic (Bruch et al., SIGIR 2024, arXiv 2404.18812), settings of its documentation; its
  query_cut and heap_factor are swept, and the fastest that reaches a recall is printed.

Engines take turns, three rounds each, on one core; recall@10 is measured against exact scores.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time

# A script of this folder has the name of the package.
sys.path.remove(os.path.dirname(os.path.abspath(__file__)))

import numpy as np

DIMENSIONS = 30_522
TOPICS, OF_TOPIC = 2_000, 400
QUERIES = 500
ROUNDS = 3
HITS = 10


def rows(documents, seed=7):
    """Documents and queries, each as row starts, dimensions and weights."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, DIMENSIONS + 1) ** 0.8
    shares /= shares.sum()
    topics = np.stack([random.choice(DIMENSIONS, OF_TOPIC, replace=False, p=shares) for _ in range(TOPICS)])
    weights = random.lognormal(-0.5, 0.6, (TOPICS, OF_TOPIC)).astype(np.float32)
    inner = 1 / np.arange(1, OF_TOPIC + 1) ** 0.7
    inner /= inner.sum()
    popular = 1 / np.arange(1, TOPICS + 1) ** 0.5
    popular /= popular.sum()

    def vector(own, entries, noise):
        found = {}
        for topic, share in zip(own, (0.65, 0.35)):
            number = max(1, int(entries * share))
            for at in random.choice(OF_TOPIC, number, replace=False, p=inner):
                weight = weights[topic, at] * random.lognormal(0, 0.35)
                dimension = int(topics[topic, at])
                found[dimension] = max(found.get(dimension, 0.0), float(weight))
        for dimension in random.choice(DIMENSIONS, noise, p=shares):
            found.setdefault(int(dimension), float(random.lognormal(-1.5, 0.5)))
        return found

    about = [random.choice(TOPICS, 2, replace=False, p=popular) for _ in range(documents)]
    made = [vector(own, random.integers(60, 150), random.integers(5, 40)) for own in about]
    asked = [vector(about[at], random.integers(12, 36), 2) for at in random.integers(0, documents, QUERIES)]
    return compressed(made), compressed(asked)


def compressed(vectors):
    starts = np.cumsum([0] + [len(vector) for vector in vectors])
    pairs = [pair for vector in vectors for pair in sorted(vector.items())]
    indices = np.array([index for index, _ in pairs], np.int64)
    return starts, indices, np.array([weight for _, weight in pairs], np.float32)


def save(path, matrix):
    starts, indices, values = matrix
    shape = np.array([len(starts) - 1, DIMENSIONS])
    np.savez(path, indptr=starts, indices=indices, data=values, format=b"csr", shape=shape)


def vectors(matrix):
    starts, indices, values = matrix
    return [(indices[a:b], values[a:b]) for a, b in zip(starts[:-1], starts[1:])]


def exact(documents, queries):
    """The best documents of each query, and the score of the last."""
    starts, indices, values = documents
    row = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    for own, weights in vectors(queries):
        table = np.zeros(DIMENSIONS)
        table[own] = weights
        scores = np.bincount(row, weights=table[indices] * values, minlength=len(starts) - 1)
        best = np.argpartition(-scores, HITS)[:HITS]
        yield set(best.tolist()), float(scores[best].min())


def by_lanner(documents, folder):
    import lanner

    database = lanner.open(folder)
    collection = database.create_collection("c", {"s": lanner.sparse()})
    started = time.perf_counter()
    pairs = vectors(documents)
    for start in range(0, len(pairs), 10_000):
        part = pairs[start : start + 10_000]
        made = [lanner.SparseVector(*pair) for pair in part]
        collection.upsert(ids=list(range(start, start + len(part))), vectors={"s": made})
    collection.optimize(progress=False)
    seconds = time.perf_counter() - started

    def ask(pair):
        hits = collection.query("s", lanner.SparseVector(*pair), limit=HITS, with_payload=False)
        return set(hits.ids)

    return seconds, {"exact": ask}


def by_seismic(documents, _):
    from seismic import SeismicDataset, SeismicIndex, get_seismic_string

    starts, indices, values = documents
    started = time.perf_counter()
    dataset = SeismicDataset()
    names = [str(number) for number in range(len(starts) - 1)]
    dataset.add_documents_by_id(names, indices, values, starts.astype(np.int64))
    index = SeismicIndex.build_from_dataset(dataset)
    seconds = time.perf_counter() - started
    text = get_seismic_string()
    asks = {}
    for cut in (3, 5, 8, 10, 15):
        for factor in (1.0, 0.8):

            def ask(pair, cut=cut, factor=factor):
                found = index.search(
                    query_id="0", query_components=pair[0], query_values=pair[1], k=HITS, query_cut=cut, heap_factor=factor
                )
                return {int(document) for _, _, document in found}

            asks[f"query_cut {cut}, heap_factor {factor}"] = ask

    def prepared(pair):
        return np.array([str(index) for index in pair[0]], dtype=text), pair[1]

    return seconds, asks, prepared


def main(number):
    documents, queries = rows(number)
    print(f"{number} documents of {len(documents[1]) / number:.0f} entries, {QUERIES} queries of {len(queries[1]) / QUERIES:.0f}")
    truth = list(exact(documents, queries))
    folder = tempfile.mkdtemp()
    try:
        asked = vectors(queries)
        seconds, asks = by_lanner(documents, folder)
        print(f"lanner: {number / seconds:,.0f} documents/s, sealed and merged")
        engines = [("lanner", setting, ask, asked) for setting, ask in asks.items()]
        seconds, asks, prepared = by_seismic(documents, folder)
        print(f"seismic: {number / seconds:,.0f} documents/s")
        ready = [prepared(pair) for pair in asked]
        engines += [("seismic", setting, ask, ready) for setting, ask in asks.items()]
        os.sched_setaffinity(0, {0})
        times, found = {}, {}
        for _ in range(ROUNDS):
            for name, setting, ask, pairs in engines:
                for at, pair in enumerate(pairs):
                    started = time.perf_counter()
                    hits = ask(pair)
                    times.setdefault((name, setting), []).append(time.perf_counter() - started)
                    found.setdefault((name, setting), {})[at] = hits
        for key, taken in times.items():
            recall = statistics.mean(len(hits & truth[at][0]) / HITS for at, hits in found[key].items())
            micros = np.array(taken) * 1e6
            print(f"{key[0]}, {key[1]}: recall@{HITS} {recall:.4f}, a query {np.median(micros):.0f} µs (median), "
                  f"{np.percentile(micros, 95):.0f} µs (p95)")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        for name, matrix in zip(("documents", "queries"), rows(int(sys.argv[1]))):
            save(os.path.join(sys.argv[2], f"{name}.npz"), matrix)
    else:
        main(int(sys.argv[1]))
