"""RaBitQ Library: SymphonyQG (a graph whose edges carry one-bit codes), and HNSW and IVF of its codes."""

import numpy as np
import rabitqlib

from engines import K, Searching, Variant, windows

EF_CONSTRUCTION = 200
#: Centroids that HNSW takes residuals from, as in the library's own benchmarks.
HNSW_CENTROIDS = 16
#: Bits that make IVF keep the vectors themselves, to re-rank by them.
RAW = 32


def variants(dataset, quick):
    lists = 1024 if dataset.shape()[0] < 100_000 else 2048
    found = []
    for bits in (0, 8) if quick else (0, 8, 4):
        for degree in (32,) if quick else (32, 64):
            found.append(symphony(bits, degree))
    for bits in (9,) if quick else (5, 9):
        for m in (16,) if quick else (16, 32):
            parameters = {"kind": "hnsw", "bits": bits, "m": m}
            found.append(Variant(f"RaBitQ HNSW 1+{bits - 1} bits", f"M {m}", parameters))
    for bits in (RAW,) if quick else (RAW, 5, 9):
        name = "f32" if bits == RAW else f"1+{bits - 1} bits"
        parameters = {"kind": "ivf", "bits": bits, "lists": lists}
        found.append(Variant(f"RaBitQ IVF {name}", f"{lists} lists", parameters))
    return found


def symphony(bits, degree):
    name = f"{bits} bits" if bits else "f32"
    parameters = {"kind": "symphony", "bits": bits, "degree": degree}
    return Variant(f"SymphonyQG {name}", f"degree {degree}", parameters)


def build(variant, dataset, base, threads, folder):
    parameters = variant.parameters
    count, dimensions = base.shape
    if parameters["kind"] == "symphony":
        index = rabitqlib.SymqgIndex(
            dimensions, parameters["degree"], metric="ip", quantization_bits=parameters["bits"]
        )
        index.build(base, ef_construction=EF_CONSTRUCTION, num_threads=threads)
        return index
    if parameters["kind"] == "hnsw":
        clusters = rabitqlib.RaBitQKMeans(
            dimensions, HNSW_CENTROIDS, spherical=True, num_threads=threads
        )
        index = rabitqlib.HnswIndex(
            dimensions,
            count,
            M=parameters["m"],
            ef_construction=EF_CONSTRUCTION,
            nbits=parameters["bits"],
            metric="ip",
        )
    else:
        lists = parameters["lists"]
        clusters = rabitqlib.QGKMeans(dimensions, lists, spherical=True, num_threads=threads)
        index = rabitqlib.IvfIndex(dimensions, count, lists, parameters["bits"], metric="ip")
    clusters.train(base)
    index.build(base, clusters.centroids, clusters.assignments, num_threads=threads)
    return index


def save(index, folder):
    index.save(str(folder / "index"))


class Searcher(Searching):
    def __init__(self, variant, dataset, folder, threads):
        kind = variant.parameters["kind"]
        types = {
            "symphony": rabitqlib.SymqgIndex,
            "hnsw": rabitqlib.HnswIndex,
            "ivf": rabitqlib.IvfIndex,
        }
        self.index = types[kind].load(str(folder / "index"))
        self.search = self.index.search_batch if kind == "symphony" else self.index.search
        self.depth = "nprobe" if kind == "ivf" else "ef"
        self.threads = threads

    def settings(self, quick):
        sizes = windows(True, low=2, high=400) if self.depth == "nprobe" else windows(quick)
        return [{self.depth: size} for size in sizes]

    def apply(self, setting):
        search, depth = self.search, setting[self.depth]
        # By position, which costs the call less than by name.
        self.one = lambda part: search(part, K, depth)
        self.many = lambda queries: search(queries, K, depth, num_threads=self.threads)

    def batch(self, queries):
        return self.many(queries)

    def rows(self, raw):
        return raw[0].astype(np.int64)
