"""The demo collection that ships with the repository: 163 passages, 40 questions, judgements.

Embeddings come with it (all-MiniLM-L6-v2), so that the examples beside this file run offline. With a
model of your own, `model.encode(texts)` takes their place.
"""

import json
from pathlib import Path

import lanner
import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "demo"


def texts(name):
    """Ids and texts of a .jsonl file."""
    with open(FOLDER / name, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row["_id"] for row in rows], rows


def load(name):
    return np.load(FOLDER / name)


IDS, PASSAGES = texts("corpus.jsonl")
QUESTION_IDS, QUESTIONS = texts("queries.jsonl")

# One vector a text: [163, 384] and [40, 384].
CORPUS = load("corpus.f16.npy")
QUERIES = load("queries.f16.npy")

# One vector a token, of all texts in one matrix with offsets; the codes are round(127 * x).
CORPUS_TOKENS = lanner.Ragged(
    load("corpus_tokens.i8.npy").astype(np.float32) / 127, load("corpus_tokens_offsets.i64.npy")
)
QUERY_TOKENS = lanner.Ragged(load("queries_tokens.f16.npy"), load("queries_tokens_offsets.i64.npy"))


def question_tokens(at):
    """The token vectors of a question, [n, 128]."""
    values, offsets = QUERY_TOKENS
    return values[offsets[at] : offsets[at + 1]]


def judgements():
    """Relevance by question and passage."""
    found = {}
    for line in (FOLDER / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        question, passage, relevance = line.split("\t")
        found.setdefault(question, {})[passage] = int(relevance)
    return found
