"""Semantic search: passages that mean what a question asks, whatever their words.

pip install ./clients/python
python examples/python/semantic_search.py
"""

import tempfile

import lanner
from demo import CORPUS, IDS, PASSAGES, QUERIES, QUESTIONS

with tempfile.TemporaryDirectory() as folder, lanner.open(folder) as db:
    passages = db.create_collection("passages", {"text": lanner.vector(384, metric="cosine")})
    payloads = [{"title": passage["title"]} for passage in PASSAGES]
    stored = passages.upsert(ids=IDS, vectors={"text": CORPUS}, payloads=payloads)
    print(f"{stored} passages")
    for question, vector in zip(QUESTIONS[:5], QUERIES):
        print(f"\n{question['text']}")
        for hit in passages.query("text", vector, limit=3):
            print(f"  {hit.score:.3f}  {hit.payload['title']}")
