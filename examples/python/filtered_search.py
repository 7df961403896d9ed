"""Filtered search: hits by similarity among points whose payloads match, facets and scrolls.

python examples/python/filtered_search.py
"""

import tempfile

import lanner
from demo import CORPUS, IDS, PASSAGES, QUERIES

with tempfile.TemporaryDirectory() as folder, lanner.open(folder) as db:
    # Declared paths are fast; filters may name others, too.
    passages = db.create_collection("passages", {"text": lanner.vector(384)}, {"words": int, "topic": str})
    topics = ["search", "storage", "learning", "services"]
    payloads = [
        {
            "title": passage["title"],
            "words": len(passage["text"].split()),
            "topic": topics[at * 4 // len(IDS)],
        }
        for at, passage in enumerate(PASSAGES)
    ]
    passages.upsert(ids=IDS, vectors={"text": CORPUS}, payloads=payloads)

    short = (lanner.field("words") < 40) & (lanner.field("topic") != "storage")
    print(f"{passages.count(short)} short passages that are not about storage")
    for hit in passages.query("text", QUERIES[0], limit=3, filter=short):
        print(f"  {hit.score:.3f}  {hit.payload['words']} words  {hit.payload['title']}")

    # The same as a dict, in the form that all of Lanner reads (docs/filters.md).
    same = {"words": {"lt": 40}, "topic": {"ne": "storage"}}
    assert passages.count(same) == passages.count(short)

    print("passages by topic:", dict(passages.facet("topic")))
    longest = passages.scroll(order_by="words", descending=True, limit=3)
    print(
        "the longest:", ", ".join(f"{point.payload['title']} ({point.payload['words']})" for point in longest)
    )
