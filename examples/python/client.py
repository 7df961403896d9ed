"""A short client for Lanner over gRPC, with numpy vectors sent as bytes.

    pip install -r examples/python/requirements.txt
    lanner serve --data db &
    python examples/python/client.py --server 127.0.0.1:7700

Creates a collection, streams 1,000 random vectors with payloads into it, searches with and without
a filter, compares the answers with an exact search in numpy, and deletes the collection again.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import grpc
import numpy as np
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[2] / "proto"
COLLECTION = "python-example"
POINTS, DIMENSION, BATCH, QUERIES, LIMIT = 1000, 64, 100, 20, 10


def stubs(folder):
    """Generates the stubs into `folder` and imports them."""
    names = ["common", "collections", "filter", "points", "query"]
    arguments = ["protoc", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(arguments + [f"lanner/v1/{name}.proto" for name in names]) != 0:
        sys.exit("cannot generate the stubs")
    sys.path.insert(0, str(folder))
    from lanner.v1 import collections_pb2, collections_pb2_grpc
    from lanner.v1 import common_pb2, points_pb2, points_pb2_grpc, query_pb2, query_pb2_grpc

    return (common_pb2, collections_pb2, collections_pb2_grpc, points_pb2, points_pb2_grpc,
            query_pb2, query_pb2_grpc)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="127.0.0.1:7700", help="host:port")
    server = parser.parse_args().server
    with tempfile.TemporaryDirectory() as folder:
        run(server, stubs(Path(folder)))


def run(server, generated):
    common, collections, collections_grpc, points, points_grpc, query, query_grpc = generated
    channel = grpc.insecure_channel(server)
    collection_service = collections_grpc.CollectionServiceStub(channel)
    point_service = points_grpc.PointServiceStub(channel)
    query_service = query_grpc.QueryServiceStub(channel)

    random = np.random.default_rng(7)
    base = random.standard_normal((POINTS, DIMENSION)).astype("<f4")
    queries = random.standard_normal((QUERIES, DIMENSION)).astype("<f4")

    field = collections.VectorField(dimension=DIMENSION, kind="VECTOR_KIND_SINGLE", metric="METRIC_DOT")
    config = collections.CollectionConfig(
        fields={"v": field}, payload={"shelf": "PAYLOAD_TYPE_INTEGER"})
    collection_service.CreateCollection(
        collections.CreateCollectionRequest(name=COLLECTION, config=config))
    try:
        def requests():
            for start in range(0, POINTS, BATCH):
                batch = [
                    common.Point(id=common.PointId(number=row),
                                 vectors={"v": common.Vector(f32=base[row].tobytes())},
                                 payload_json=json.dumps({"shelf": row % 10}))
                    for row in range(start, start + BATCH)
                ]
                yield points.StreamUpsertPointsRequest(collection=COLLECTION, points=batch)

        stored = 0
        for answer in point_service.StreamUpsertPoints(requests()):
            for error in answer.errors:
                sys.exit(f"point {error.index} was refused: {error.message}")
            stored += answer.receipt.affected
        print(f"stored {stored} points")

        shelves = {"field": "shelf", "gte": 3, "lt": 5}
        for condition in [None, shelves]:
            options = {"filter": {"json": json.dumps(condition)}} if condition else {}
            searches = [
                query.SearchRequest(
                    field="v", vector=common.Vector(f32=row.tobytes()), limit=LIMIT, **options)
                for row in queries
            ]
            answer = query_service.BatchQuery(
                query.BatchQueryRequest(collection=COLLECTION, searches=searches))
            scores = queries @ base.T
            if condition:
                scores[:, ~np.isin(np.arange(POINTS) % 10, [3, 4])] = -np.inf
            exact = np.argsort(-scores, axis=1, kind="stable")[:, :LIMIT]
            for row, result in enumerate(answer.results):
                found = [hit.point.id.number for hit in result.hits]
                if found != exact[row].tolist():
                    sys.exit(f"query {row}: expected {exact[row].tolist()}, got {found}")
            print(f"{QUERIES} answers equal the exact search in numpy, filter: {condition}")
    finally:
        collection_service.DeleteCollection(
            collections.DeleteCollectionRequest(name=COLLECTION))


if __name__ == "__main__":
    main()
