"""hnswlib: HNSW on f32."""

import hnswlib
import numpy as np

from engines import K, Searching, Variant, windows

EF_CONSTRUCTION = 200


def variants(dataset, quick):
    degrees = (16, 32) if quick else (16, 32, 48)
    return [Variant("hnswlib", f"M {m}", {"m": m}) for m in degrees]


def build(variant, dataset, base, threads, folder):
    index = hnswlib.Index(space="ip", dim=base.shape[1])
    index.init_index(len(base), M=variant.parameters["m"], ef_construction=EF_CONSTRUCTION)
    index.add_items(base, np.arange(len(base)), num_threads=threads)
    return index


def save(index, folder):
    index.save_index(str(folder / "index"))


class Searcher(Searching):
    def __init__(self, variant, dataset, folder, threads):
        self.index = hnswlib.Index(space="ip", dim=dataset.shape()[1])
        self.index.load_index(str(folder / "index"))
        self.threads = threads
        query = self.index.knn_query
        self.one = lambda part: query(part, k=K, num_threads=1)

    def settings(self, quick):
        return [{"ef": ef} for ef in windows(quick)]

    def apply(self, setting):
        self.index.set_ef(setting["ef"])

    def batch(self, queries):
        return self.index.knn_query(queries, k=K, num_threads=self.threads)

    def rows(self, raw):
        return raw[0]
