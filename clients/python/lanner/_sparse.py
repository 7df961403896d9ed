"""Sparse vectors: values at few of 2**32 dimensions, as SPLADE and BGE-M3 make them.

They come in many forms: `SparseVector`, dicts, matrices of scipy, tensors of torch, columns of tables. A
column of them is three arrays (indices, values, offsets), as in scipy's CSR. Indices and values are checked
by the engine; here they get their types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from . import _native
from ._arrays import Column, _array, _is_arrow, _kind, _shape, is_sparse_array
from ._errors import InvalidInput
from ._lazy import np

if TYPE_CHECKING:
    import numpy
    from typing_extensions import Self

__all__ = ["SparseVector", "column", "is_sparse", "size_bytes", "vector"]

_ONE = (
    "a sparse vector (lanner.SparseVector, a dict {index: value} or {'indices': […], 'values': […]}, a sparse "
    "row of scipy or torch)"
)
_MANY = "a list of sparse vectors, or a sparse matrix of scipy or torch [points, dimensions]"
_INDICES = "integers from 0 to 2**32 - 1"
_PARTS = {"indices", "values"}
_SHOWN = 8


class SparseVector:
    """A sparse vector: values at some of 2**32 dimensions, which usually are the tokens of a vocabulary.

        lanner.SparseVector([30_000, 7], [0.25, 1.5])
        lanner.SparseVector({30_000: 0.25, 7: 1.5})
        lanner.SparseVector(row)  # of scipy.sparse, [dimensions] or [1, dimensions]; or a tensor of torch

    Args:
        indices: Integers from 0 to 2**32 - 1, each once, in any order. Or, without `values`, a dict, a row
            of a sparse matrix, or any object with `indices` and `values`.
        values: As many, 0 or more. Zeros are left out; at most 65,535 others.

    Raises:
        InvalidInput: An index comes twice or is none, or a value is negative, NaN or infinite.
    """

    __slots__ = ("indices", "values")

    indices: numpy.ndarray
    """Indices, ascending: uint32, [entries]."""
    values: numpy.ndarray
    """Values, each above 0: float32, [entries]."""

    def __init__(self, indices: Any, values: Any = None) -> None:
        parts = _parts(indices, "") if values is None else _pair(indices, values, "")
        self._set(*_native.sparse_entries(*parts, ""))

    @classmethod
    def _stored(cls, indices: numpy.ndarray, values: numpy.ndarray) -> Self:
        """A vector of entries that were checked when they were stored."""
        vector = cls.__new__(cls)
        vector._set(indices, values)
        return vector

    def _set(self, indices: numpy.ndarray, values: numpy.ndarray) -> None:
        indices.flags.writeable = values.flags.writeable = False
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "values", values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a sparse vector does not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a sparse vector does not change")

    def to_dict(self) -> dict[int, float]:
        """Values by index, ascending."""
        return dict(zip(self.indices.tolist(), self.values.tolist()))

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.indices)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SparseVector)
            and np.array_equal(self.indices, other.indices)
            and np.array_equal(self.values, other.values)
        )

    def __hash__(self) -> int:
        return hash((self.indices.tobytes(), self.values.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        return SparseVector, (np.array(self.indices), np.array(self.values))

    def __repr__(self) -> str:
        indices = ", ".join(map(str, self.indices[:_SHOWN]))
        values = ", ".join(map(str, self.values[:_SHOWN]))
        more, number = (", …", f", {len(self)} entries") if len(self) > _SHOWN else ("", "")
        return f"lanner.SparseVector([{indices}{more}], [{values}{more}]{number})"


def _at(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _has_parts(value: Any) -> bool:
    """Whether an object has indices and values, as `SparseVector` and those of other packages."""
    return all(hasattr(value, part) and not callable(getattr(value, part)) for part in _PARTS)


def _is_struct(value: Any) -> bool:
    """Whether a dict has the indices and values of a vector under these names."""
    return len(value) == 2 and value.keys() == _PARTS


def is_sparse(value: Any) -> bool:
    """Whether it is a sparse vector or matrix, whatever the field."""
    return isinstance(value, Mapping) or is_sparse_array(value) or _has_parts(value)


def vector(value: Any, name: str) -> SparseVector:
    """One vector."""
    if isinstance(value, SparseVector):
        return value
    return SparseVector._stored(*_native.sparse_entries(*_parts(value, name), name))


def size_bytes(value: Any) -> int:
    """Size of a sparse vector in bytes, about."""
    if hasattr(value, "tocsr"):
        return 8 * int(value.nnz)
    if isinstance(value, tuple) and len(value) == 2:
        value = value[0]
    elif isinstance(value, Mapping) and _is_struct(value):
        value = value["indices"]
    return 8 * len(value) if hasattr(value, "__len__") else 0


# One vector: its indices and values, of the right types.


def _parts(value: Any, name: str) -> tuple[Any, Any]:
    if isinstance(value, SparseVector):
        return value.indices, value.values
    if isinstance(value, Mapping):
        if _is_struct(value):
            return _pair(value["indices"], value["values"], name)
        return _pair(_keys(value), list(value.values()), name)
    if is_sparse_array(value):
        indices, values, offsets = _matrix_parts(value, name)
        if len(offsets) != 2:
            expected, got = "the shape [dimensions] or [1, dimensions]", _shape(value.shape)
            raise InvalidInput(f"{name or 'vector'}: expected {expected}, got {got}")
        return indices, values
    if isinstance(value, tuple) and len(value) == 2:
        return _pair(value[0], value[1], name)
    if _has_parts(value):
        return _pair(value.indices, value.values, name)
    raise InvalidInput(f"{name or 'vector'}: expected {_ONE}, got {_kind(value)}")


def _keys(value: Mapping[Any, Any]) -> list[Any]:
    """Indices of a dict. JSON and BGE-M3 have them as texts."""
    return [int(key) if isinstance(key, str) and key.isascii() and key.isdigit() else key for key in value]


def _pair(indices: Any, values: Any, name: str) -> tuple[Any, Any]:
    found, weights = _indices(indices, _at(name, "indices")), _values(values, _at(name, "values"))
    if len(found) != len(weights):
        got = f"{len(weights)} values for {len(found)} indices"
        raise InvalidInput(f"{_at(name, 'values')}: expected as many values as indices, got {got}")
    return found, weights


def _indices(value: Any, name: str) -> numpy.ndarray:
    """Indices as an array of uint32."""
    for step in ("detach", "cpu"):
        value = getattr(value, step)() if hasattr(value, step) else value
    if not hasattr(value, "__array__"):
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise InvalidInput(f"{name}: expected {_INDICES}, got {_kind(value)}")
        value = list(value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: expected {_INDICES}, got {error}") from None
    if array.size == 0:
        return np.empty(0, np.uint32)
    if array.ndim != 1:
        raise InvalidInput(f"{name}: expected the shape [entries], got {_shape(array.shape)}")
    if array.dtype.kind not in "iu":
        got = f"an array of {array.dtype}"
        if isinstance(value, list):
            got = next((_kind(one) for one in value if not _is_index(one)), got)
        raise InvalidInput(f"{name}: expected {_INDICES}, got {got}")
    if array.dtype != np.uint32:
        wrong = np.flatnonzero((array < 0) | (array > 0xFFFF_FFFF))
        if len(wrong):
            raise InvalidInput(f"{name}: expected {_INDICES}, got {array[wrong[0]]} at position {wrong[0]}")
    found: numpy.ndarray = np.ascontiguousarray(array, np.uint32)
    return found


def _is_index(value: Any) -> bool:
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_integer and 0 <= value < 1 << 32


def _values(value: Any, name: str) -> numpy.ndarray:
    """Values as an array of float32."""
    array = _array(value, name)
    if array.size == 0:
        return np.empty(0, np.float32)
    if array.ndim != 1:
        raise InvalidInput(f"{name}: expected the shape [entries], got {_shape(array.shape)}")
    found: numpy.ndarray = np.ascontiguousarray(array, np.float32)
    return found


# Many vectors: indices, values, and where each vector begins.


def _matrix_parts(value: Any, name: str) -> tuple[Any, Any, Any]:
    """A matrix of scipy or torch, [points, dimensions], or one vector, [dimensions]."""
    if not 1 <= len(value.shape) <= 2:
        expected, got = "the shape [points, dimensions] or [dimensions]", _shape(value.shape)
        raise InvalidInput(f"{name or 'vector'}: expected {expected}, got {got}")
    if hasattr(value, "tocsr"):
        matrix = value.tocsr()
        if not matrix.has_canonical_format:
            # Entries that come twice are added, which is what they mean to scipy.
            matrix = matrix.copy()
            matrix.sum_duplicates()
        indices, values, offsets = matrix.indices, matrix.data, np.asarray(matrix.indptr, np.int64)
        if offsets[0] != 0 or offsets[-1] != len(indices):
            indices, values = indices[offsets[0] : offsets[-1]], values[offsets[0] : offsets[-1]]
            offsets = offsets - offsets[0]
    else:
        indices, values, offsets = _torch_parts(value, name)
    return _indices(indices, _at(name, "indices")), _values(values, _at(name, "values")), offsets


def _torch_parts(value: Any, name: str) -> tuple[Any, Any, Any]:
    """A tensor of any sparse layout."""
    tensor = value.detach().cpu()
    if not tensor.is_sparse:  # Of the layouts only COO is.
        tensor = tensor.to_sparse_coo()
    tensor = tensor.coalesce()
    places = np.asarray(tensor.indices())
    if len(places) != len(value.shape):
        got = f"a tensor with {len(value.shape) - len(places)} dense dimensions"
        raise InvalidInput(f"{name}: expected a tensor whose dimensions all are sparse, got {got}")
    values = _array(tensor.values(), _at(name, "values"))
    if len(places) == 1:
        return places[0], values, np.array([0, len(values)], np.int64)
    rows, indices = places
    if np.any(np.diff(rows) < 0):
        # What was CSC is in the order of columns, and counts as coalesced.
        order = np.argsort(rows, kind="stable")
        rows, indices, values = rows[order], indices[order], values[order]
    offsets = np.searchsorted(rows, np.arange(value.shape[0] + 1))
    return indices, values, offsets.astype(np.int64)


def column(value: Any, name: str) -> Column:
    """The vectors of a sparse field; `None` in a list where a point has none."""
    package = type(value).__module__.split(".")[0]
    if package in ("pandas", "polars") and hasattr(value, "to_list"):
        from ._tables import column_vectors

        value = column_vectors(value)
    if _is_arrow(value):
        from ._tables import arrow_sparse

        value = arrow_sparse(value, name)
        if isinstance(value, Column):
            indices, values = _pair(value.indices, value.values, name)
            return value._replace(values=values, indices=indices)
    if is_sparse_array(value):
        if len(value.shape) != 2:
            raise InvalidInput(f"{name}: expected the shape [points, dimensions], got {_shape(value.shape)}")
        indices, values, offsets = _matrix_parts(value, name)
        return Column(name, values, offsets, None, indices)
    if isinstance(value, (str, bytes, Mapping)) or _has_parts(value) or not isinstance(value, Iterable):
        raise InvalidInput(f"{name}: expected {_MANY}, got {_kind(value)}")
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        raise InvalidInput(f"{name}: expected {_MANY}, got an array of {value.dtype}")
    return _from_list(list(value), name)


def _from_list(vectors: Sequence[Any], name: str) -> Column:
    parts = [None if one is None else _parts(one, f"{name}[{at}]") for at, one in enumerate(vectors)]
    given = [pair for pair in parts if pair is not None]
    present: numpy.ndarray | None = None
    if len(given) < len(parts):
        present = np.fromiter((pair is not None for pair in parts), bool, len(parts))
    lengths = [0 if pair is None else len(pair[0]) for pair in parts]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    none: list[Any] = [(np.empty(0, np.uint32), np.empty(0, np.float32))]
    indices, values = zip(*chain(none, given))
    return Column(name, np.concatenate(values), offsets, present, np.concatenate(indices))
