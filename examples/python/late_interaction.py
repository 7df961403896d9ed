"""Late interaction: one vector a token, scored by MaxSim, as ColBERT does.

One vector a text finds candidates, and its tokens order them; or the tokens do both, by encodings
(MUVERA) where collections are large.

    python examples/python/late_interaction.py
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
        tokens = question_tokens(at)
        print(f"\n{question['text']} ({len(tokens)} tokens)")
        for hit in passages.query("tokens", tokens, limit=3):
            print(f"  MaxSim {hit.score:6.3f}  {hit.payload['title']}")
        rescored = passages.rescore("text", QUERIES[at], "tokens", tokens, candidates=50, limit=3)
        print("  of the 50 nearest by one vector:", ", ".join(rescored.ids))
