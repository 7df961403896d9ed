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


if __name__ == "__main__" and len(sys.argv) == 3:
    for name, matrix in zip(("documents", "queries"), rows(int(sys.argv[1]))):
        save(os.path.join(sys.argv[2], f"{name}.npz"), matrix)
