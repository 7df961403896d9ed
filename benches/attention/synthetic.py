"""Generates queries, keys and values with the properties of a decoder's attention that matter.

- Queries lie far from keys: each side has a mean of its own, with a few strong channels.
- Few keys hold most of the mass: a query asks for a topic and a word, and the words are Zipf's.
- Recency: topics last some hundreds of tokens, and rotary positions (base 500,000, after
  projection, as in Llama 3) favour what is near.
- Drift: queries to learn from are of the prefill, those to test with come after it.

It is a model of attention, not attention: use it for sizes and speed, and real tensors for
quality. Writes keys.npy, values.npy, learn.npy, test.npy, all [n, d] f32.
"""

import argparse
from pathlib import Path

import numpy as np

D = 128
TEST = 1_000
WORDS = 5_000
TOPIC_TOKENS = 400
RANK = 48


def rotated(x, positions, base=500_000.0):
    """Rotary position embedding (arXiv 2104.09864) over halves of the dimensions."""
    half = x.shape[1] // 2
    angles = positions[:, None] * base ** (-np.arange(half) / half)
    cos, sin = np.cos(angles), np.sin(angles)
    a, b = x[:, :half], x[:, half:]
    return np.hstack([a * cos - b * sin, a * sin + b * cos])


def generate(n, decay, seed):
    rng = np.random.default_rng(seed)
    total = n + TEST

    def normal(*shape):
        return rng.standard_normal(shape)

    starts = np.cumsum(rng.geometric(1 / TOPIC_TOKENS, total // TOPIC_TOKENS * 3))
    section = np.searchsorted(starts, np.arange(total), side="right")
    # Sections return to some of a limited number of topics.
    topic = rng.integers(0, 200, section.max() + 1)[section]
    words = np.minimum(rng.zipf(1.2, total) - 1, WORDS - 1)
    # Few directions matter much: in the heads of minilm.py, 8 hold 0.85 to 0.96 of the variance of
    # the logits. With a decay of 0 all directions matter alike, which no index likes.
    spectrum = np.arange(1, RANK + 1) ** -decay
    spectrum *= np.sqrt(RANK / (spectrum**2).sum())
    topics, vocabulary = spectrum * normal(200, RANK), spectrum * normal(WORDS, RANK)
    content = 0.6 * topics[topic] + vocabulary[words]
    to_key = normal(RANK, D) / np.sqrt(RANK)
    # The low rotary frequencies carry content, the high ones position.
    to_key *= np.where(np.arange(D) % (D // 2) < D // 4, 0.25, 1.2)
    key_mean, query_mean = normal(D), normal(D)
    strong = rng.choice(np.arange(D // 4, D // 2), 3, replace=False)
    key_mean[strong] *= 12
    query_mean[strong] *= -2
    keys = key_mean + content @ to_key + 0.5 * normal(total, D)
    # What a token wants: something of its topic, and a word that occurs in texts.
    wanted = 0.6 * topics[topic] + vocabulary[words[rng.integers(0, total, total)]]
    queries = query_mean + 1.6 * (wanted @ to_key) + 0.5 * normal(total, D)
    positions = np.arange(total)
    f32 = np.float32
    keys, queries = rotated(keys, positions).astype(f32), rotated(queries, positions).astype(f32)
    values = normal(n, D).astype(f32) * 0.3 + content[:n] @ normal(RANK, D).astype(f32) / np.sqrt(RANK)
    return keys[:n], values.astype(f32), queries[:n], queries[n:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the sets are written")
    parser.add_argument("--keys", type=int, nargs="*", default=[32_768, 131_072])
    arguments = parser.parse_args()
    sets = [("synthetic", 1.0, n) for n in arguments.keys] + [("synthetic-flat", 0.0, min(arguments.keys))]
    for name, decay, n in sets:
        folder = arguments.folder / f"{name}-{n // 1024}k"
        if (folder / "test.npy").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for part, rows in zip(("keys", "values", "learn", "test"), generate(n, decay, seed=7)):
            np.save(folder / f"{part}.npy", rows)


if __name__ == "__main__":
    main()
