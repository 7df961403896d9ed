"""Tables of pandas, polars and Arrow: a column of ids, columns of vectors, and payloads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ._arrays import Column, Ragged
from ._errors import InvalidInput
from ._lazy import np

__all__ = [
    "arrow_multi", "arrow_sparse", "arrow_vectors", "column_vectors", "is_table", "payload_rows", "take",
]  # fmt: skip


def is_table(value: Any) -> bool:
    """Whether it is a DataFrame of pandas or polars, or an Arrow table or batch."""
    package = type(value).__module__.split(".")[0]
    return (
        package in ("pandas", "polars", "pyarrow")
        and hasattr(value, "columns")
        and not callable(getattr(value, "to_list", None))
    )


def _names(table: Any) -> list[str]:
    names = table.column_names if hasattr(table, "column_names") else table.columns
    return [str(name) for name in names]


def _column(table: Any, name: str) -> Any:
    if hasattr(table, "column_names"):
        return table.column(name)
    return table[name]


def take(
    table: Any, fields: Iterable[str], id_column: str, *, need_vectors: bool = True
) -> tuple[Any, dict[str, Any], Any]:
    """Ids, vectors by field and payloads of a table: of its other columns."""
    names = _names(table)
    if id_column not in names:
        raise InvalidInput(
            f"points: expected a column {id_column!r} of ids, got the columns {', '.join(names)}"
        )
    fields = list(fields)
    vectors = {name: column_vectors(_column(table, name)) for name in names if name in fields}
    if need_vectors and not vectors:
        got = ", ".join(names)
        raise InvalidInput(
            f"points: expected columns named as vector fields ({', '.join(fields)}), got {got}"
        )
    others = [name for name in names if name != id_column and name not in vectors]
    payloads = payload_rows(table, others) if others else None
    return _column(table, id_column), vectors, payloads


def payload_rows(table: Any, names: list[str] | None = None) -> list[dict[str, Any]]:
    """A dict a row. Values that are missing (None, NaN, NaT) are left out."""
    names = _names(table) if names is None else names
    columns = [_values(_column(table, name)) for name in names]
    rows = zip(*columns) if columns else ()
    return [{name: value for name, value in zip(names, row) if not _is_missing(value)} for row in rows]


def _values(column: Any) -> list[Any]:
    return list(column.to_pylist() if hasattr(column, "to_pylist") else column.to_list())


def _is_missing(value: Any) -> bool:
    # NaN and NaT differ from themselves; pandas.NA is neither.
    if value is None or type(value).__name__ == "NAType":
        return True
    return not isinstance(value, (list, dict)) and not hasattr(value, "__len__") and value != value


def column_vectors(column: Any) -> Any:
    """A column of vectors as what `_arrays` reads, without a copy where that is possible."""
    package = type(column).__module__.split(".")[0]
    if package == "polars":
        try:
            return column.to_arrow()
        except ImportError:
            return column.to_list()
    if package == "pandas":
        return [None if _is_missing(value) else value for value in column.tolist()]
    return column


def _one_chunk(array: Any) -> Any:
    if hasattr(array, "num_chunks"):
        array = array.combine_chunks()
        # Some versions return a chunked array of one.
        array = array.chunk(0) if hasattr(array, "num_chunks") else array
    return array


def _nested(array: Any) -> bool:
    return hasattr(array, "flatten") and hasattr(array.type, "value_type")


def arrow_vectors(array: Any, name: str) -> Any:
    """Vectors of equal length in an Arrow array of lists, or one vector in an array of numbers."""
    array = _one_chunk(array)
    if not _nested(array):
        return array.to_numpy(zero_copy_only=False)
    if array.null_count:
        raise InvalidInput(f"{name}: expected a vector in each row, got {array.null_count} without")
    values = array.flatten()
    rows = len(array)
    if rows and len(values) % rows:
        raise InvalidInput(
            f"{name}: expected vectors of one dimension, got {len(values)} values in {rows} rows"
        )
    width = len(values) // rows if rows else 0
    if hasattr(array, "offsets") and not np.all(np.diff(np.asarray(array.offsets)) == width):
        raise InvalidInput(f"{name}: expected vectors of one dimension, got lists of several lengths")
    return arrow_vectors(values, name).reshape(rows, width)


def arrow_multi(array: Any, name: str) -> Any:
    """Multi-vectors in an Arrow array of lists of vectors."""
    array = _one_chunk(array)
    if array.null_count or not _nested(array):
        return array.to_pylist()
    if not hasattr(array, "offsets"):
        return array.to_pylist()
    offsets = np.asarray(array.offsets).astype(np.int64)
    return Ragged(arrow_vectors(array.flatten(), name), offsets - offsets[0])


def arrow_sparse(array: Any, name: str) -> Any:
    """Sparse vectors in an Arrow array of structs with the lists `indices` and `values`, whose numbers stay
    Arrow arrays; of other arrays a list."""
    array = _one_chunk(array)
    if type(array).__name__ != "StructArray":
        return array.to_pylist()
    names = [array.type.field(at).name for at in range(array.type.num_fields)]
    if sorted(names) != ["indices", "values"]:
        expected, got = "structs of the lists indices and values", ", ".join(names) or "no members"
        raise InvalidInput(f"{name}: expected {expected}, got {got}")
    present = np.asarray(array.is_valid())
    parts = dict(zip(names, array.flatten()))
    indices, lengths = _arrow_lists(parts["indices"], present, name, "indices")
    values, others = _arrow_lists(parts["values"], present, name, "values")
    unequal = np.flatnonzero(lengths != others)
    if len(unequal):
        at = unequal[0]
        got = f"{others[at]} values for {lengths[at]} indices"
        raise InvalidInput(f"{name}[{at}].values: expected as many values as indices, got {got}")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Column(name, values, offsets, None if present.all() else present, indices)


def _arrow_lists(lists: Any, present: Any, name: str, part: str) -> tuple[Any, Any]:
    """The numbers of lists, and their length in each row; only rows that are not present may be null."""
    if not _nested(lists):
        raise InvalidInput(f"{name}.{part}: expected lists of numbers, got {lists.type}")
    without = np.flatnonzero(present & ~np.asarray(lists.is_valid()))
    if len(without):
        raise InvalidInput(f"{name}[{without[0]}].{part}: expected a list of numbers, got nothing")
    numbers = lists.flatten()
    if numbers.null_count:
        raise InvalidInput(f"{name}.{part}: expected numbers, got {numbers.null_count} nulls")
    return numbers, np.asarray(lists.value_lengths().fill_null(0)).astype(np.int64)
