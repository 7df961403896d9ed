"""The same interface to a server, from threads and from coroutines.

lanner serve --data db &
python examples/python/server.py --server 127.0.0.1:7700
"""

import argparse
import asyncio

import lanner
from demo import CORPUS, IDS, QUERIES

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--server", default="127.0.0.1:7700", help="host:port")
address = parser.parse_args().server

with lanner.connect(address) as db:
    passages = db.create_collection("python-example", {"text": lanner.vector(384)})
    print(passages.upsert(ids=IDS, vectors={"text": CORPUS}), "passages")
    ids, scores = passages.batch_query("text", QUERIES, limit=3)
    print(
        f"{len(ids)} questions in one call; the best passage of the first: {ids[0, 0]} ({scores[0, 0]:.3f})"
    )


async def ask():
    async with await lanner.connect_async(address) as db:
        passages = await db.collection("python-example")
        hits = await asyncio.gather(*(passages.query("text", query, limit=1) for query in QUERIES))
        print(f"{len(hits)} questions at the same time; the best passage of the first: {hits[0][0].id}")
        await db.drop("python-example")


asyncio.run(ask())
