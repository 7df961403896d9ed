"""Decoding with an index of the keys of each head: a small transformer in numpy.

    pip install numpy lanner
    python examples/python/attention.py

The transformer has random weights (2 layers, 4 query heads and 2 KV heads a layer), so what it writes means
nothing. After a prefill of 8,192 tokens, each
step attends to the first 4 tokens, the last 64, and 2% of the others, and its output is compared with full
attention. `benches/attention/decode.py` decodes with trained weights.
"""

from __future__ import annotations

import time

import numpy as np
from lanner.attention import KeyIndex

LAYERS, HEADS, KV_HEADS, D, VOCABULARY = 2, 4, 2, 32, 500
WIDTH, GROUP = HEADS * D, HEADS // KV_HEADS
PREFILL, STEPS, BUDGET, SCALE = 8_192, 16, 0.02, 24


def normed(x):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def rotated(x, positions, base=10_000.0):
    """Rotary embedding of [tokens, heads, D]."""
    half = D // 2
    angles = positions[:, None, None] * base ** (-np.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    parts = a * np.cos(angles) - b * np.sin(angles), a * np.sin(angles) + b * np.cos(angles)
    return np.concatenate(parts, axis=-1).astype(np.float32)


class Layer:
    """A layer with its KV cache, [n, KV_HEADS, D], and an index for each KV head."""

    def __init__(self, rng):
        def weights(rows, columns):
            return (rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)

        self.q, self.k, self.v = (
            weights(WIDTH, WIDTH),
            weights(WIDTH, KV_HEADS * D),
            weights(WIDTH, KV_HEADS * D),
        )
        self.out, self.up, self.down = weights(WIDTH, WIDTH), weights(WIDTH, WIDTH), weights(WIDTH, WIDTH)
        # As in trained heads, few directions matter, those of the low rotary frequencies.
        spectrum = SCALE / np.arange(D // 2, 0, -1, dtype=np.float32)
        self.q *= np.tile(spectrum, 2 * HEADS)
        self.keys = np.empty((KV_HEADS, PREFILL + STEPS, D), np.float32)
        self.values = np.empty_like(self.keys)
        self.indexes = []

    def project(self, x, start):
        """Queries [tokens, HEADS, D]; keys and values join the cache."""
        positions = np.arange(start, start + len(x))
        h = normed(x)

        def split(y):
            return y.reshape(len(x), -1, D)

        place = slice(start, start + len(x))
        self.keys[:, place] = rotated(split(h @ self.k), positions).swapaxes(0, 1)
        self.values[:, place] = split(h @ self.v).swapaxes(0, 1)
        return rotated(split(h @ self.q), positions)

    def finish(self, x, read):
        x = x + read @ self.out
        return x + np.maximum(normed(x) @ self.up, 0) @ self.down

    def prefill(self, x):
        """Causal attention over the prompt in blocks, then the indexes, from its keys and queries."""
        queries = self.project(x, 0)
        read = np.empty((len(x), HEADS, D), np.float32)
        for start in range(0, len(x), 512):
            end = min(start + 512, len(x))
            later = np.arange(end)[None] > np.arange(start, end)[:, None]
            for head in range(HEADS):
                keys, values = self.keys[head // GROUP, :end], self.values[head // GROUP, :end]
                read[start:end, head] = softmax(queries[start:end, head] @ keys.T, later) @ values
        for kv in range(KV_HEADS):
            group = queries[:, kv * GROUP : (kv + 1) * GROUP].reshape(-1, D)
            self.indexes.append(KeyIndex(self.keys[kv, : len(x)], group, share=3 * BUDGET))
        return self.finish(x, read.reshape(len(x), WIDTH))

    def step(self, x, position, report):
        """Sparse attention of one token."""
        queries, end = self.project(x, position)[0], position + 1
        read = np.empty((HEADS, D), np.float32)
        static = [(0, 4), (end - 64, end)]
        for kv, index in enumerate(self.indexes):
            index.append(self.keys[kv, position:end])
            keys, values = self.keys[kv, :end], self.values[kv, :end]
            group = queries[kv * GROUP : (kv + 1) * GROUP]
            start = time.perf_counter()
            sparse = index.attention(group, keys, values, int(BUDGET * end), exclude=static)
            report["sparse"] += time.perf_counter() - start
            start = time.perf_counter()
            full = softmax(group @ keys.T) @ values
            report["full"] += time.perf_counter() - start
            read[kv * GROUP : (kv + 1) * GROUP] = sparse.output
            report["covered"].extend(sparse.coverage)
            report["errors"].extend(
                np.linalg.norm(sparse.output - full, axis=1) / np.linalg.norm(full, axis=1)
            )
        return self.finish(x, read.reshape(1, WIDTH))


def softmax(products, masked=None):
    logits = products / np.sqrt(D)
    if masked is not None:
        logits[masked] = -np.inf
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def main():
    rng = np.random.default_rng(7)
    embedding = rng.standard_normal((VOCABULARY, WIDTH)).astype(np.float32)
    layers = [Layer(rng) for _ in range(LAYERS)]
    x = embedding[np.minimum(rng.zipf(1.3, PREFILL), VOCABULARY) - 1]
    for layer in layers:
        x = layer.prefill(x)
    print(f"prefill of {PREFILL} tokens: {layers[0].indexes[0]}")
    report = {"sparse": 0.0, "full": 0.0, "covered": [], "errors": []}
    token = int(np.argmax(x[-1] @ embedding.T))
    for position in range(PREFILL, PREFILL + STEPS):
        x = embedding[token][None]
        for layer in layers:
            x = layer.step(x, position, report)
        token = int(np.argmax(x[0] @ embedding.T))
    calls = STEPS * LAYERS * KV_HEADS
    print(
        f"{STEPS} tokens: {1e6 * report['sparse'] / calls:.0f} µs a KV head, {1e6 * report['full'] / calls:.0f} in full"
    )
    covered, errors = np.array(report["covered"]), np.array(report["errors"])
    print(f"share of attention covered: median {np.median(covered):.3f}, least {covered.min():.3f}")
    print(f"error of the output: median {np.median(errors):.4f}, largest {errors.max():.4f}")


if __name__ == "__main__":
    main()
