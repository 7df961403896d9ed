"""Vectors and ids as the native module takes them.

Vectors are C-contiguous arrays of f32 or f16 in native byte order. An array that is one already is
borrowed; f16 and f32 keep their type, other floats and integers are rounded to f32. Booleans, complex
numbers, texts, objects and dates are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ._errors import InvalidInput
from ._lazy import np

if TYPE_CHECKING:
    import numpy

    from ._sparse import SparseVector

__all__ = ["Column", "Ids", "Ragged", "as_ids", "as_offsets", "id_list", "matrix", "multi", "query"]

Ids = Union["numpy.ndarray", "list[str]"]

_EXPECTED = "numbers (float32 or float16; other floats and integers are rounded to float32)"


class Ragged(NamedTuple):
    """Multi-vectors of several points in one matrix.

    `values` has shape [vectors, dimension]; point i has the rows `offsets[i]` to `offsets[i + 1]`, so
    that `offsets` has one more element than there are points.
    """

    values: Any
    offsets: Any


class Column(NamedTuple):
    """The vectors of one field: `[points, dimension]`, or with offsets `[vectors, dimension]`.

    Points that have none are false in `present`; a single field has no row for them. With `indices`, they
    are sparse: indices and values of all entries, `[entries]`, and point i has those from `offsets[i]` to
    `offsets[i + 1]`.
    """

    name: str
    values: numpy.ndarray
    offsets: numpy.ndarray | None
    present: numpy.ndarray | None
    indices: numpy.ndarray | None = None

    @property
    def points(self) -> int:
        if self.present is not None:
            return len(self.present)
        return len(self.values) if self.offsets is None else len(self.offsets) - 1


def _array(value: Any, name: str) -> numpy.ndarray:
    """A numpy array of any shape, f32 or f16."""
    if not isinstance(value, np.ndarray):
        value = _foreign(value, name)
    if hasattr(value, "mask"):
        if np.any(value.mask):
            raise InvalidInput(f"{name}: expected {_EXPECTED}, got a masked array with masked elements")
        value = value.data
    dtype = value.dtype
    if dtype.kind == "O":
        value = _stacked(list(value), name)
        dtype = value.dtype
    if dtype.kind not in "fiu" and dtype.name != "bfloat16":
        raise InvalidInput(f"{name}: expected {_EXPECTED}, got an array of {dtype}")
    if dtype.kind == "f" and dtype.itemsize in (2, 4):
        return np.require(value, dtype.newbyteorder("="), ["C", "A"])
    with np.errstate(over="ignore"):
        rounded: numpy.ndarray = np.require(value.astype(np.float32), None, ["C", "A"])
        return rounded


def _foreign(value: Any, name: str) -> numpy.ndarray:
    """An array of what is none: tensors, series, Arrow arrays, lists."""
    if value is None or isinstance(value, (str, bytes, dict, set)) or is_sparse_array(value):
        raise InvalidInput(f"{name}: expected {_EXPECTED}, got {_kind(value)}")
    # Tensors of torch that are part of a graph or on another device refuse to be arrays.
    for step in ("detach", "cpu"):
        if hasattr(value, step):
            value = getattr(value, step)()
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        value = value.float()
    if _is_arrow(value):
        from ._tables import arrow_vectors

        found: numpy.ndarray = arrow_vectors(value, name)
        return found
    if hasattr(value, "to_numpy"):
        return np.asarray(value.to_numpy())
    if hasattr(value, "__array__"):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    if isinstance(value, Iterable):
        rows = list(value)
        if not rows or not _is_number(rows[0]):
            return _stacked(rows, name)
        value = rows
    return _from_list(value, name)


def is_sparse_array(value: Any) -> bool:
    """Whether it is a sparse array of scipy or a sparse tensor of torch."""
    layout = str(getattr(value, "layout", ""))
    return hasattr(value, "tocsr") or (layout.startswith("torch.") and layout != "torch.strided")


def _is_arrow(value: Any) -> bool:
    return type(value).__module__.startswith("pyarrow") and hasattr(value, "to_pylist")


def _from_list(value: Any, name: str) -> numpy.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: expected {_EXPECTED}, got {error}") from None
    if array.dtype.kind == "O":
        got = next((_kind(element) for element in array.flat if not _is_number(element)), "large integers")
        raise InvalidInput(f"{name}: expected {_EXPECTED}, got {got}")
    return np.asarray(array)


def _stacked(rows: Sequence[Any], name: str) -> numpy.ndarray:
    """Rows of one shape as one array."""
    if all(isinstance(row, (list, tuple)) for row in rows) and rows:
        width = len(rows[0])
        for at, row in enumerate(rows):
            if len(row) != width:
                raise InvalidInput(f"{name}[{at}]: expected {width} values as in [0], got {len(row)}")
        return _from_list(rows, name)
    arrays = [_array(row, f"{name}[{at}]") for at, row in enumerate(rows)]
    for at, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            expected, got = _shape(arrays[0].shape), _shape(array.shape)
            raise InvalidInput(f"{name}[{at}]: expected the shape {expected} of [0], got {got}")
    return np.stack(arrays) if arrays else np.empty((0, 0), np.float32)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"


def _shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def matrix(value: Any, name: str) -> Column:
    """One vector a point; `None` in a list where a point has none."""
    present = None
    if isinstance(value, (list, tuple)) and any(row is None for row in value):
        present = np.fromiter((row is not None for row in value), bool, len(value))
        value = [row for row in value if row is not None]
    array = _array(value, name)
    if array.ndim != 2 and array.size:
        raise InvalidInput(f"{name}: expected the shape [points, dimension], got {_shape(array.shape)}")
    return Column(name, array.reshape(len(array), -1) if array.size else array.reshape(0, 0), None, present)


def as_offsets(value: Any, rows: int, name: str) -> numpy.ndarray:
    """Offsets of points in a matrix of so many rows."""
    offsets = np.asarray(value)
    if offsets.ndim != 1 or len(offsets) == 0 or offsets.dtype.kind not in "iu":
        got = f"an array of {offsets.dtype} with the shape {_shape(offsets.shape)}"
        raise InvalidInput(f"{name}: expected integers, one more than points, got {got}")
    offsets = offsets.astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != rows or np.any(np.diff(offsets) < 0):
        got = f"{offsets[0]} to {offsets[-1]}" + ("" if np.all(np.diff(offsets) >= 0) else ", descending")
        raise InvalidInput(f"{name}: expected ascending offsets from 0 to the {rows} rows, got {got}")
    return np.ascontiguousarray(offsets)


def multi(value: Any, name: str) -> Column:
    """Many vectors a point: a list of [n, dimension], [points, n, dimension], or a matrix with offsets."""
    if isinstance(value, Ragged) or (
        isinstance(value, tuple) and len(value) == 2 and getattr(value[1], "ndim", 0) == 1
    ):
        values = _array(value[0], f"{name}.values")
        if values.ndim != 2:
            got = _shape(values.shape)
            raise InvalidInput(f"{name}.values: expected the shape [vectors, dimension], got {got}")
        return Column(name, values, as_offsets(value[1], len(values), f"{name}.offsets"), None)
    if _is_arrow(value):
        from ._tables import arrow_multi

        value = arrow_multi(value, name)
        if isinstance(value, Ragged):
            return multi(value, name)
    if getattr(value, "ndim", 0) == 3 or (hasattr(value, "detach") and value.ndim == 3):
        array = _array(value, name)
        offsets = np.arange(len(array) + 1, dtype=np.int64) * array.shape[1]
        return Column(name, array.reshape(-1, array.shape[2]), offsets, None)
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        expected = "a list of [n, dimension] arrays, one [points, n, dimension], or lanner.Ragged(…)"
        raise InvalidInput(f"{name}: expected {expected}, got the shape {_shape(value.shape)}")
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) or is_sparse_array(value):
        raise InvalidInput(f"{name}: expected a list of [n, dimension] arrays, got {_kind(value)}")
    rows = list(value)
    arrays = [None if row is None else _tokens(row, f"{name}[{at}]") for at, row in enumerate(rows)]
    given = [array for array in arrays if array is not None]
    present: numpy.ndarray | None = None
    if len(given) < len(arrays):
        present = np.fromiter((array is not None for array in arrays), bool, len(arrays))
    if not given:
        return Column(name, np.empty((0, 0), np.float32), np.zeros(len(arrays) + 1, np.int64), present)
    width = given[0].shape[1]
    for at, tokens in enumerate(arrays):
        if tokens is not None and tokens.shape[1] != width:
            got = f"{tokens.shape[1]} dimensions"
            raise InvalidInput(f"{name}[{at}]: expected {width} dimensions as in the first, got {got}")
    lengths = [0 if tokens is None else len(tokens) for tokens in arrays]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Column(name, np.ascontiguousarray(np.concatenate(given)), offsets, present)


def _tokens(value: Any, name: str) -> numpy.ndarray:
    array = _array(value, name)
    if array.ndim != 2:
        raise InvalidInput(f"{name}: expected the shape [n, dimension], got {_shape(array.shape)}")
    return array


def query(value: Any, name: str) -> numpy.ndarray | SparseVector:
    """What is searched for: [dimension], [n, dimension] for a multi field, or a sparse vector."""
    from . import _sparse

    if _sparse.is_sparse(value):
        return _sparse.vector(value, name)
    array = _array(value, name)
    if array.ndim not in (1, 2):
        expected = "the shape [dimension], or [n, dimension] for a multi field"
        raise InvalidInput(f"{name}: expected {expected}, got {_shape(array.shape)}")
    return array


def as_ids(value: Any, name: str = "ids") -> Ids:
    """Ids of one kind: an array of u64, or a list of texts."""
    if isinstance(value, range):
        value = np.arange(value.start, value.stop, value.step, dtype=np.int64)
    elif isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise InvalidInput(f"{name}: expected a list or an array of ids, got {_kind(value)}")
    elif not isinstance(value, (np.ndarray, list)):
        if hasattr(value, "to_pylist"):
            value = value.to_pylist()
        elif hasattr(value, "to_list"):
            value = value.to_list()
        elif hasattr(value, "detach") or hasattr(value, "__array__"):
            value = np.asarray(value)
        else:
            value = list(value)
    if isinstance(value, np.ndarray):
        if value.ndim != 1:
            raise InvalidInput(f"{name}: expected one dimension, got the shape {_shape(value.shape)}")
        if value.dtype.kind == "u":
            return np.ascontiguousarray(value, dtype=np.uint64)
        if value.dtype.kind == "i":
            negative = np.flatnonzero(value < 0)
            if len(negative):
                raise _bad_id(name, int(negative[0]), value[negative[0]])
            return np.ascontiguousarray(value, dtype=np.uint64)
        if value.dtype.kind not in "UTO":
            raise InvalidInput(f"{name}: expected integers or texts, got an array of {value.dtype}")
        value = value.tolist()
    return _from_id_list(value, name)


def _from_id_list(values: list[Any], name: str) -> Ids:
    kinds = set(map(type, values))
    if kinds <= {str}:
        return values
    if kinds <= {int}:
        at = next((at for at, value in enumerate(values) if not 0 <= value < 1 << 64), None)
        if at is not None:
            raise _bad_id(name, at, values[at])
        return np.array(values, dtype=np.uint64)
    clean = [_one_id(value, f"{name}[{at}]") for at, value in enumerate(values)]
    texts = isinstance(clean[0], str)
    for at, value in enumerate(clean):
        if isinstance(value, str) != texts:
            first, got = ("texts", "a number") if texts else ("numbers", "a text")
            raise InvalidInput(
                f"{name}[{at}]: expected ids of one kind, {first} as [0], got {got}: {value!r}"
            )
    return _from_id_list(clean, name)


def _one_id(value: Any, name: str) -> int | str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{name}: expected a text or an integer from 0 to 2**64 - 1, got {_kind(value)}")
    return value


def _bad_id(name: str, at: int, value: Any) -> InvalidInput:
    return InvalidInput(f"{name}[{at}]: expected an integer from 0 to 2**64 - 1, got {value}")


def id_list(value: Any, name: str = "ids") -> list[int | str]:
    """Ids of any kind, one or several, as a list."""
    if isinstance(value, (str, int, np.integer)):
        value = [value]
    elif hasattr(value, "tolist") and hasattr(value, "dtype"):
        value = value.tolist()
    elif hasattr(value, "to_pylist"):
        value = value.to_pylist()
    elif isinstance(value, (bytes, dict)) or not isinstance(value, Iterable):
        raise InvalidInput(f"{name}: expected an id or a list of ids, got {_kind(value)}")
    ids = [_one_id(one, f"{name}[{at}]") for at, one in enumerate(value)]
    for at, one in enumerate(ids):
        if isinstance(one, int) and not 0 <= one < 1 << 64:
            raise _bad_id(name, at, one)
    return ids


def refuse_duplicates(ids: Ids, name: str = "ids") -> None:
    """Refuses ids that come twice: one of their points would be lost."""
    if isinstance(ids, list):
        if len(set(ids)) == len(ids):
            return
        seen: dict[str, int] = {}
        for at, one in enumerate(ids):
            if seen.setdefault(one, at) != at:
                raise _twice(name, at, one, seen[one])
        return
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        twice = unique[counts > 1][0]
        places = np.flatnonzero(ids == twice)
        raise _twice(name, int(places[1]), int(twice), int(places[0]))


def _twice(name: str, at: int, one: int | str, first: int) -> InvalidInput:
    return InvalidInput(f"{name}[{at}]: expected each id once, got {one!r}, which is {name}[{first}], too")
