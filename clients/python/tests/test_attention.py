"""The index of the keys of a KV cache, against numpy."""

from __future__ import annotations

import lanner
import numpy as np
import pytest
from lanner.attention import KeyIndex, search_heads

N, D = 8_192, 32


def head(seed: int, n: int = N) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, queries and values, [n, D]: queries far from keys, and few directions that matter."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).standard_normal((6, D)) / np.arange(1, 7)[:, None]

    def around(mean: float) -> np.ndarray:
        rows = mean + rng.standard_normal((n, 6)) @ directions * 1.5 + 0.3 * rng.standard_normal((n, D))
        return rows.astype(np.float32)

    return around(1.0), around(-1.0), rng.standard_normal((n, D)).astype(np.float32)


def test_most_of_the_best_keys_are_found_and_all_by_a_scan() -> None:
    keys, queries, _ = head(0)
    index = KeyIndex(keys, queries[:4_000])
    assert (len(index), index.dimension, index.lists > 0, index.memory_bytes > N * D) == (N, D, True, True)
    tests = queries[-50:]
    best = np.argsort(-tests @ keys.T, axis=1)[:, :50]
    hits = index.search(tests, 50, keys=keys)
    found = sum(len(np.intersect1d(hits.head(i)[0], best[i])) for i in range(50))
    assert found >= 0.93 * best.size
    assert hits.scored.max() < 0.05 * N
    scan = index.search(tests, 50, keys=keys, scan=True)
    for i in range(50):
        ids, products = scan.head(i)
        assert set(ids) == set(best[i])
        np.testing.assert_allclose(products, keys[ids] @ tests[i], rtol=1e-4)


def test_attention_over_all_keys_is_the_softmax() -> None:
    keys, queries, values = head(1)
    index = KeyIndex(keys[:-8], queries)
    static = [(0, 4), (N - 72, N)]
    full = index.attention(queries[:4], keys, values, N, exclude=static)
    logits = queries[:4] @ keys.T / np.sqrt(D)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    np.testing.assert_allclose(full.output, weights @ values, atol=1e-4)
    assert (full.coverage == 1).all() and (full.keys == N).all()
    part = index.attention(queries[:4], keys, values, N // 50, exclude=static)
    assert (part.keys == N // 50 + 76).all()
    covered = np.exp(part.log_sum_exp - full.log_sum_exp)
    assert (part.coverage_at_least <= covered + 1e-6).all()
    assert np.abs(part.coverage - covered).max() < 0.2
    most = index.search(queries[:1], mass=0.5)
    assert weights[0, most.ids].sum() > 0.4


def test_forks_pages_and_many_heads() -> None:
    keys, queries, _ = head(2)
    index = KeyIndex(keys[:-2], queries)
    fork = index.fork()
    index.append(keys[-2:])
    assert (len(index), len(fork), repr(fork)) == (
        N,
        N - 2,
        f"KeyIndex({N - 2} keys, dimension 32, 512 lists)",
    )
    ids = index.search(queries[:1], 30).ids
    pages = index.search(queries[:1], 30, page=16).ids
    np.testing.assert_array_equal(pages, np.unique(ids // 16))
    both = search_heads([index, fork], queries[:4], 30)
    for at, alone in enumerate([index.search(queries[:2], 30), fork.search(queries[2:4], 30)]):
        for i in range(2):
            np.testing.assert_array_equal(both.head(2 * at + i)[0], alone.head(i)[0])


def test_halves_of_torch_are_borrowed() -> None:
    torch = pytest.importorskip("torch")
    if getattr(torch, "__file__", None) is None:
        pytest.skip("torch is a stand-in: its CPU wheel is not installed")
    keys, queries, values = (torch.from_numpy(part) for part in head(3))
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        rounded = keys.to(kind)
        index = KeyIndex(rounded, queries.to(kind))
        hits = index.search(queries[:1].to(kind), 20, keys=rounded, scan=True)
        exact = rounded.float() @ queries[0].to(kind).float()
        assert set(hits.ids) == set(torch.topk(exact, 20).indices.tolist())
        out = index.attention(queries[:1].to(kind), rounded, values.to(kind), 20)
        assert out.output.shape == (1, D)


def test_bad_input_is_refused() -> None:
    keys, queries, values = head(4, 100)
    index = KeyIndex(keys, queries)
    broken = keys.copy()
    broken[7, 3] = np.nan
    with pytest.raises(lanner.InvalidInput, match=r"keys\[7\]: expected finite values"):
        index.append(broken)
    with pytest.raises(lanner.InvalidInput, match="queries: expected 32 dimensions, got 16"):
        index.search(queries[:, :16].copy(), 3)
    with pytest.raises(lanner.InvalidInput, match="either k or mass"):
        index.search(queries, 3, mass=0.5)
    with pytest.raises(lanner.InvalidInput, match="a value for each key"):
        index.attention(queries, keys, values[:9], 3)
    with pytest.raises(lanner.InvalidInput, match=r"expected the shape"):
        index.search(queries[0], 3)
    with pytest.raises(lanner.InvalidInput, match="ascending order"):
        index.search(queries, 3, exclude=[(9, 4)])
    assert len(index) == 100
