"""ScaNN (as scann-core, which needs no TensorFlow): lists of anisotropic codes with re-ranking."""

import numpy as np
from scann.scann_ops.py import scann_ops_pybind as scann

from engines import K, Searching, Variant, windows

#: Customary in ScaNN's own benchmarks of unit vectors, as is the factor of SOAR.
ANISOTROPY = 0.2
SOAR = 1.5
DIMENSIONS_PER_BLOCK = 2
#: Set again at each search.
LEAVES_TO_SEARCH, REORDERED = 100, 100


def variants(dataset, quick):
    # Of about as many rows as there are lists, and half of that.
    root = round(dataset.shape()[0] ** 0.5, -2)
    found = []
    for soar in (None, SOAR):
        for count in (int(2 * root),) if quick else (int(root), int(2 * root)):
            family = "ScaNN SOAR" if soar else "ScaNN"
            found.append(Variant(family, f"{count} lists", {"lists": count, "soar": soar}))
    return found


def build(variant, dataset, base, threads, folder):
    builder = scann.builder(base, K, "dot_product").set_n_training_threads(threads)
    builder.tree(
        variant.parameters["lists"],
        LEAVES_TO_SEARCH,
        training_sample_size=len(base),
        spherical=True,
        quantize_centroids=True,
        soar_lambda=variant.parameters["soar"],
    )
    builder.score_ah(DIMENSIONS_PER_BLOCK, anisotropic_quantization_threshold=ANISOTROPY)
    builder.reorder(REORDERED)
    return builder.build()


def save(index, folder):
    (folder / "index").mkdir(exist_ok=True)
    index.serialize(str(folder / "index"))


class Searcher(Searching):
    flat_query = True
    # As many as there are numbers to re-rank for one number of leaves.
    patience = 5

    def __init__(self, variant, dataset, folder, threads):
        self.index = scann.load_searcher(str(folder / "index"))
        self.index.set_num_threads(threads)
        self.threads = threads

    def settings(self, quick):
        reordered = (20, 40, 80) if quick else (15, 20, 40, 80, 160)
        return [
            {"leaves": leaves, "reordered": rows}
            for leaves in windows(True, low=2, high=400)
            for rows in reordered
        ]

    def apply(self, setting):
        depth = (K, setting["reordered"], setting["leaves"])
        search = self.index.search
        self.one = lambda query: search(query, *depth)
        together = self.index.search_batched
        if self.threads > 1:
            together = self.index.search_batched_parallel
        self.many = lambda queries: together(queries, *depth)

    def batch(self, queries):
        return self.many(queries)

    def rows(self, raw):
        return raw[0].astype(np.int64)
