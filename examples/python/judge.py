"""Judge embeddings of your own: nDCG@10 of a BEIR folder, with vectors from anywhere.

    python examples/python/judge.py
    python examples/python/judge.py --dataset nfcorpus --corpus corpus.npy --queries queries.npy

The vectors are rows in the order of corpus.jsonl and queries.jsonl.
"""

import argparse
import json
import tempfile
from pathlib import Path

import lanner
import numpy as np

DEMO = Path(__file__).resolve().parents[1] / "demo"


def ndcg(found, judged, depth=10):
    """As trec_eval computes it: gains are linear."""
    discount = 1 / np.log2(np.arange(2, depth + 2))
    gains = np.array([judged.get(document, 0) for document in found[:depth]], float)
    ideal = np.sort(np.array(list(judged.values()), float))[::-1][:depth]
    best = (ideal * discount[: len(ideal)]).sum()
    return (gains * discount[: len(gains)]).sum() / best if best else 0.0


def ids(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["_id"] for line in lines]


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--dataset", type=Path, default=DEMO, help="BEIR folder")
parser.add_argument("--corpus", type=Path, default=DEMO / "corpus.f16.npy", help="[documents, dimension]")
parser.add_argument("--queries", type=Path, default=DEMO / "queries.f16.npy", help="[queries, dimension]")
arguments = parser.parse_args()

corpus, queries = np.load(arguments.corpus), np.load(arguments.queries)
document_ids, query_ids = ids(arguments.dataset / "corpus.jsonl"), ids(arguments.dataset / "queries.jsonl")
judgements = {}
for line in (arguments.dataset / "qrels" / "test.tsv").read_text().splitlines()[1:]:
    query, document, relevance = line.split("\t")
    judgements.setdefault(query, {})[document] = int(relevance)

with tempfile.TemporaryDirectory() as folder, lanner.open(folder) as db:
    documents = db.create_collection("documents", {"text": lanner.vector(corpus.shape[1])})
    documents.upsert(ids=document_ids, vectors={"text": corpus})
    found = documents.batch_query("text", queries, limit=10).ids
    scores = [
        ndcg(list(row), judgements[query]) for query, row in zip(query_ids, found) if query in judgements
    ]
    print(f"nDCG@10 {np.mean(scores):.4f} of {len(scores)} queries over {len(documents)} documents")
