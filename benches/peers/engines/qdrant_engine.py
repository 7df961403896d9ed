"""Qdrant Edge: Qdrant's segments inside the process, HNSW on f32 and on scalar codes with re-scoring."""

import shutil

import numpy as np
import qdrant_edge as qdrant

from engines import K, Searching, Variant, windows

EF_CONSTRUCT = 200
BATCH = 1000
#: In kB: below these sizes Qdrant would scan instead of using the graph.
NEVER_SCAN = 1


def variants(dataset, quick):
    found = [Variant("qdrant f32", "m 16", {"m": 16})]
    if not quick:
        found += [Variant("qdrant f32", "m 32", {"m": 32})]
        found += [Variant("qdrant int8", "m 16", {"m": 16, "scalar": True})]
    return found


def config(variant, dimensions, threads):
    codes = None
    if variant.parameters.get("scalar"):
        codes = qdrant.ScalarQuantizationConfig(type=qdrant.ScalarType.Int8, always_ram=True)
    graph = qdrant.HnswIndexConfig(
        m=variant.parameters["m"],
        ef_construct=EF_CONSTRUCT,
        full_scan_threshold=NEVER_SCAN,
        max_indexing_threads=threads,
    )
    vectors = qdrant.EdgeVectorParams(size=dimensions, distance=qdrant.Distance.Dot, on_disk=False)
    optimizers = qdrant.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=NEVER_SCAN)
    return qdrant.EdgeConfig(
        vectors=vectors,
        hnsw_config=graph,
        quantization_config=codes,
        optimizers=optimizers,
        max_search_threads=threads,
    )


def build(variant, dataset, base, threads, folder):
    shutil.rmtree(folder / "shard", ignore_errors=True)
    (folder / "shard").mkdir()
    settings = config(variant, base.shape[1], threads)
    shard = qdrant.EdgeShard.create(str(folder / "shard"), settings)
    for first in range(0, len(base), BATCH):
        rows = base[first : first + BATCH].tolist()
        points = [qdrant.Point(first + number, row) for number, row in enumerate(rows)]
        shard.update(qdrant.UpdateOperation.upsert_points(points))
    shard.optimize()
    return shard


def save(shard, folder):
    shard.flush()
    shard.close()


class Searcher(Searching):
    flat_query = True

    def __init__(self, variant, dataset, folder, threads):
        settings = config(variant, dataset.shape()[1], threads)
        self.shard = qdrant.EdgeShard.load(str(folder / "shard"), settings)
        self.scalar = variant.parameters.get("scalar")

    def settings(self, quick):
        sizes = windows(True, high=500)
        if not self.scalar:
            return [{"ef": ef} for ef in sizes]
        return [{"ef": ef, "oversampling": over} for ef in sizes[::2] for over in (1.0, 2.0)]

    def apply(self, setting):
        codes = None
        if self.scalar:
            codes = qdrant.QuantizationSearchParams(
                rescore=True, oversampling=setting["oversampling"]
            )
        parameters = qdrant.SearchParams(hnsw_ef=setting["ef"], quantization=codes)
        search = self.shard.search

        def request(query):
            nearest = qdrant.Query.Nearest(query.tolist())
            return qdrant.QueryRequest(limit=K, query=nearest, params=parameters)

        def one(query):
            nearest = qdrant.Query.Nearest(query.tolist())
            return search(qdrant.SearchRequest(query=nearest, limit=K, params=parameters))

        self.request, self.one = request, one

    def batch(self, queries):
        requests = qdrant.QueryBatchRequest([self.request(query) for query in queries])
        return self.shard.query_batch(requests)

    def rows(self, raw):
        rows = np.full((len(raw), K), -1, dtype=np.int64)
        for number, hits in enumerate(raw):
            rows[number, : len(hits)] = [hit.id for hit in hits]
        return rows
