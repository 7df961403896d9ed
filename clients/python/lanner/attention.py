"""Attention as retrieval: the keys of a long KV cache that a decoding step needs (docs/attention.md).

    index = KeyIndex(keys, queries)               # [n, d], [m, d], after the prefill of one KV head
    index.append(key)                             # [1, d], after each step
    hits = index.search(query, k=100, keys=keys)  # [heads, d]
    out = index.attention(query, keys, values, k=len(index) // 50, exclude=[(0, 4), (n - 64, n)])

Tensors are numpy arrays or anything with DLPack on the CPU, such as torch's: f32, f16 and bf16 are borrowed
if they are contiguous. Products are neither normalized nor scaled; rotary embeddings are already applied.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native
from ._arrays import matrix
from ._lazy import np

if TYPE_CHECKING:
    import numpy

__all__ = ["Attended", "Hits", "KeyIndex", "search_heads"]


class Hits(NamedTuple):
    """Keys found, in ascending order of their ids; `hits.head(i)` has those of one query."""

    ids: numpy.ndarray
    """Ids of keys, or numbers of pages, of all queries one after the other: [hits], u32."""
    products: numpy.ndarray
    """The product with each: [hits], f32. Exact if the search was given the keys, else of their codes."""
    offsets: numpy.ndarray
    """Query i has the hits `offsets[i]` to `offsets[i + 1]`: [heads + 1]."""
    scored: numpy.ndarray
    """Number of keys whose codes were scored: [heads]."""

    def head(self, head: int) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Ids and products of one query."""
        start, end = self.offsets[head : head + 2]
        return self.ids[start:end], self.products[start:end]


class Attended(NamedTuple):
    """The output of attention, and the share of the softmax over all keys that it covers."""

    output: numpy.ndarray
    """[heads, v], f32."""
    log_sum_exp: numpy.ndarray
    """ln Σ exp(logit) of the keys in the output, to merge it with other parts: [heads]."""
    coverage: numpy.ndarray
    """Estimated share: [heads]."""
    coverage_at_least: numpy.ndarray
    """A lower bound of the share, which always holds, and is mostly near 0 unless `scan`: [heads]."""
    keys: numpy.ndarray
    """Number of keys whose values were read: [heads]."""


class _Request(NamedTuple):
    k: int | None
    mass: float | None
    scale: float | None
    exclude: list[tuple[int, int]]
    page: int
    scan: bool
    samples: int


def _tensor(value: Any, name: str) -> numpy.ndarray:
    """A contiguous matrix of f32, f16 or, as u16, the bits of bf16."""
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        # Somebody imported torch to make it.
        tensor = value.detach().cpu().contiguous().view(sys.modules["torch"].int16)
        bits: numpy.ndarray = tensor.numpy().view(np.uint16)
    elif isinstance(value, np.ndarray) and value.dtype.name == "bfloat16":
        bits = np.ascontiguousarray(value).view(np.uint16)
    else:
        return matrix(value, name).values
    # Other shapes are refused there.
    return bits if bits.ndim == 2 else matrix(value, name).values


class KeyIndex:
    """Finds the keys of one layer and KV head that have the largest products with a query.

    Built from keys `[n, d]` and the queries `[m, d]` of the prefill, of all query heads that read this KV head.
    The index keeps codes of the keys, not the keys. Threads may search while others append.

    `share` is the share of the keys that a search scores; `lists` the number of lists (chosen if None).
    """

    def __init__(
        self, keys: Any, queries: Any, *, share: float = 0.03, lists: int | None = None, seed: int = 1
    ) -> None:
        self._index = _native.KeyIndex(_tensor(keys, "keys"), _tensor(queries, "queries"), share, lists, seed)

    def append(self, keys: Any) -> None:
        """Appends keys `[n, d]`, whose ids follow those of the keys before."""
        self._index.append(_tensor(keys, "keys"))

    def fork(self) -> KeyIndex:
        """Another continuation of the same prefix, which shares the memory of the keys so far."""
        fork = KeyIndex.__new__(KeyIndex)
        fork._index = self._index.fork()
        return fork

    def search(
        self,
        queries: Any,
        k: int | None = None,
        *,
        mass: float | None = None,
        keys: Any = None,
        exclude: Sequence[tuple[int, int]] = (),
        scale: float | None = None,
        page: int = 1,
        scan: bool = False,
    ) -> Hits:
        """The `k` keys with the largest products with each query `[heads, d]`, or those with a share `mass` of
        the softmax.

        With `keys`, products are exact. `exclude` are ranges of tokens (first, end) that are not searched;
        `page` returns pages of so many tokens; `scan` scores the codes of all keys instead of a list.
        """
        request = _Request(k, mass, scale, list(exclude), page, scan, 0)
        known = None if keys is None else _tensor(keys, "keys")
        return Hits(*self._index.search(_tensor(queries, "queries"), known, request))

    def attention(
        self,
        queries: Any,
        keys: Any,
        values: Any,
        k: int | None = None,
        *,
        mass: float | None = None,
        exclude: Sequence[tuple[int, int]] = (),
        scale: float | None = None,
        scan: bool = False,
        samples: int = 0,
    ) -> Attended:
        """Softmax attention of queries `[heads, d]` over the keys that a search finds and all keys of the ranges
        `exclude`, such as the first and the recent tokens.

        `keys` `[n, d]` and `values` `[n, v]` may go beyond the index if `exclude` contains those. With
        `samples`, keys that are left out are estimated from this many of them.
        """
        request = _Request(k, mass, scale, list(exclude), 1, scan, samples)
        tensors = (_tensor(queries, "queries"), _tensor(keys, "keys"), _tensor(values, "values"))
        return Attended(*self._index.attend(*tensors, request))

    def __len__(self) -> int:
        return len(self._index)

    @property
    def dimension(self) -> int:
        """d, the number of elements of a key."""
        return self._index.dimension

    @property
    def lists(self) -> int:
        """Number of lists; 0 if all keys are scored."""
        return self._index.lists

    @property
    def memory_bytes(self) -> int:
        """Bytes of codes and lists, including those shared with forks."""
        return self._index.memory_bytes

    def __repr__(self) -> str:
        return f"KeyIndex({len(self)} keys, dimension {self.dimension}, {self.lists} lists)"


def search_heads(
    indexes: Sequence[KeyIndex],
    queries: Any,
    k: int | None = None,
    *,
    mass: float | None = None,
    keys: Sequence[Any] | None = None,
    exclude: Sequence[tuple[int, int]] = (),
    scale: float | None = None,
    page: int = 1,
    scan: bool = False,
) -> Hits:
    """Searches many indexes in one call on all cores: queries `[heads, d]` in the order of the indexes, equally
    many for each. See `KeyIndex.search`."""
    request = _Request(k, mass, scale, list(exclude), page, scan, 0)
    known = None if keys is None else [_tensor(part, f"keys[{at}]") for at, part in enumerate(keys)]
    natives = [index._index for index in indexes]
    return Hits(*_native.search_heads(natives, _tensor(queries, "queries"), known, request))
