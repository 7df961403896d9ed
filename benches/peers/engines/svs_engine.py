"""Intel SVS: Vamana graphs on f32, f16, LVQ and LeanVec (the last two on Intel processors only)."""

import itertools
import time

import numpy as np
import svs

from engines import K, Searching, Variant, windows

#: Inner product of unit vectors: the sign of alpha's comparison turns round, 0.95 being customary.
ALPHA = 0.95
BUILD_WINDOW = 200
PREFETCH = ((1, 1), (4, 1), (8, 1), (8, 2), (0, 0))


def variants(dataset, quick):
    dimensions = dataset.shape()[1]
    reduced = {384: (160,), 100: (80,)}.get(dimensions, (dimensions // 2,))
    degrees = (32,) if quick else (32, 64)
    kinds = [("f32", {}), ("LVQ8", {"lvq": (8, 0)}), ("LVQ4x8", {"lvq": (4, 8)})]
    if not quick:
        kinds += [("f16", {}), ("LVQ4x4", {"lvq": (4, 4)})]
    for dims in reduced:
        kinds.append((f"LeanVec{dims} 8x8", {"leanvec": (dims, "lvq8")}))
        if not quick:
            kinds.append((f"LeanVec{dims} 4x8", {"leanvec": (dims, "lvq4")}))
    return [
        Variant(f"SVS {kind}", f"R {degree}", {"kind": kind, "degree": degree} | parameters)
        for kind, parameters in kinds
        for degree in degrees
    ]


def loader(variant, base, folder):
    parameters = variant.parameters
    if parameters["kind"] == "f32":
        return base
    if parameters["kind"] == "f16":
        return base.astype(np.float16)
    path = str(folder / "base.fvecs")
    svs.write_vecs(base, path)
    data = svs.VectorDataLoader(path, svs.DataType.float32, dims=base.shape[1])
    if "lvq" in parameters:
        primary, residual = parameters["lvq"]
        return svs.LVQLoader(data, primary=primary, residual=residual)
    dimensions, primary = parameters["leanvec"]
    return svs.LeanVecLoader(data, dimensions, primary_kind=getattr(svs.LeanVecKind, primary))


def build(variant, dataset, base, threads, folder):
    data = loader(variant, base, folder)
    parameters = svs.VamanaBuildParameters(
        alpha=ALPHA, graph_max_degree=variant.parameters["degree"], window_size=BUILD_WINDOW
    )
    return svs.Vamana.build(parameters, data, svs.DistanceType.MIP, num_threads=threads)


def save(index, folder):
    index.save(*(str(folder / part) for part in ("config", "graph", "data")))
    (folder / "base.fvecs").unlink(missing_ok=True)


def saved(variant, dataset, folder):
    parameters, path = variant.parameters, str(folder / "data")
    if "lvq" in parameters:
        return svs.LVQLoader(path)
    if "leanvec" in parameters:
        return svs.LeanVecLoader(path)
    kind = svs.DataType.float32 if parameters["kind"] == "f32" else svs.DataType.float16
    return svs.VectorDataLoader(path, kind, dims=dataset.shape()[1])


class Searcher(Searching):
    # Its searches share one pool of threads.
    concurrent = False
    patience = 4

    def __init__(self, variant, dataset, folder, threads):
        self.index = svs.Vamana(
            str(folder / "config"),
            svs.GraphLoader(str(folder / "graph")),
            saved(variant, dataset, folder),
            svs.DistanceType.MIP,
            num_threads=threads,
        )
        two_levels = variant.parameters.get("lvq", (0, 1))[1] and variant.parameters["kind"][0] == "L"
        # The whole buffer is re-ranked, so its capacity matters where there are two levels of codes.
        self.factors = (1, 1.5, 2, 3) if two_levels else (1,)
        self.prefetch = (4, 1)
        self.one = self.batch

    def tune(self, queries):
        """Takes the fastest prefetching: SVS leaves that to its users."""
        spent = {}
        for _, prefetch in itertools.product(range(8), PREFETCH):
            self.prefetch = prefetch
            self.apply({"window": 40, "capacity": 40})
            started = time.perf_counter()
            self.batch(queries)
            spent[prefetch] = min(time.perf_counter() - started, spent.get(prefetch, 1e9))
        self.prefetch = min(spent, key=spent.get)

    def settings(self, quick):
        return [
            {"window": window, "capacity": max(K, round(window * factor))}
            for window in windows(quick, low=5)
            for factor in self.factors
            if window * factor <= 1000 and (window >= K or factor > 1)
        ]

    def apply(self, setting):
        parameters = svs.VamanaSearchParameters(
            buffer_config=svs.SearchBufferConfig(setting["window"], setting["capacity"]),
            search_buffer_visited_set=True,
            prefetch_lookahead=self.prefetch[0],
            prefetch_step=self.prefetch[1],
        )
        self.index.search_parameters = parameters

    def batch(self, queries):
        return self.index.search(queries, K)

    def rows(self, raw):
        return raw[0].astype(np.int64)
