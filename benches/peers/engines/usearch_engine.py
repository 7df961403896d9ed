"""USearch: HNSW on f32, f16, bf16 or i8."""

import numpy as np
from usearch.index import Index

from engines import K, Searching, Variant, windows

EXPANSION_ADD = 200


def variants(dataset, quick):
    kinds = ("f32", "f16", "i8") if quick else ("f32", "f16", "bf16", "i8")
    degrees = (16,) if quick else (16, 32)
    return [
        Variant(f"usearch {kind}", f"M {m}", {"kind": kind, "m": m}) for kind in kinds for m in degrees
    ]


def empty(variant, dimensions):
    # i8 needs the metric that knows its scale.
    metric = "cos" if variant.parameters["kind"] == "i8" else "ip"
    return Index(
        ndim=dimensions,
        metric=metric,
        dtype=variant.parameters["kind"],
        connectivity=variant.parameters["m"],
        expansion_add=EXPANSION_ADD,
    )


def build(variant, dataset, base, threads, folder):
    index = empty(variant, base.shape[1])
    index.add(np.arange(len(base)), base, threads=threads)
    return index


def save(index, folder):
    index.save(str(folder / "index"))


class Searcher(Searching):
    flat_query = True

    def __init__(self, variant, dataset, folder, threads):
        self.index = empty(variant, dataset.shape()[1])
        self.index.load(str(folder / "index"))
        self.threads = threads
        search = self.index.search
        self.one = lambda query: search(query, K, threads=1)

    def settings(self, quick):
        return [{"expansion": size} for size in windows(quick)]

    def apply(self, setting):
        self.index.expansion_search = setting["expansion"]

    def batch(self, queries):
        return self.index.search(queries, K, threads=self.threads)

    def rows(self, raw):
        return raw.keys.astype(np.int64)
