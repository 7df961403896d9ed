"""Fusion: one ranking out of several, by reciprocal ranks, so that scores need not be comparable.

python examples/python/fusion.py
"""

import tempfile

import lanner
from demo import CORPUS, CORPUS_TOKENS, IDS, PASSAGES, QUERIES, QUESTIONS, question_tokens

with tempfile.TemporaryDirectory() as folder, lanner.open(folder) as db:
    fields = {"text": lanner.vector(384), "tokens": lanner.multivector(128)}
    passages = db.create_collection("passages", fields)
    payloads = [{"title": passage["title"]} for passage in PASSAGES]
    passages.upsert(ids=IDS, vectors={"text": CORPUS, "tokens": CORPUS_TOKENS}, payloads=payloads)
    for at, question in enumerate(QUESTIONS[:3]):
        searches = [
            lanner.Search("text", QUERIES[at], limit=50),
            lanner.Search("tokens", question_tokens(at), limit=50),
        ]
        print(f"\n{question['text']}")
        for hit in passages.fuse(searches, weights=[1.0, 2.0], limit=3):
            print(f"  {hit.score:.4f}  {hit.payload['title']}")
