"""Points to columns, and columns to batches: what `Collection.upsert` takes apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _sparse
from ._arrays import Column, Ids, as_ids, id_list, matrix, multi, refuse_duplicates
from ._errors import InvalidInput
from ._fields import vector_fields
from ._lazy import np
from ._payloads import encode, encode_all
from ._results import Point
from ._tables import is_table, payload_rows, take

if TYPE_CHECKING:
    from ._fields import AnyField, Field

__all__ = ["Batch", "columns", "from_points", "from_table", "has_text", "is_stream", "vector_columns"]

BATCH_POINTS = 20_000
STREAM_POINTS = 2_000


class Batch(NamedTuple):
    """Points in columns, as many as are written at a time."""

    first: int
    """Place of its first point in the call."""
    ids: Any
    vectors: list[Column]
    payloads: list[str | None] | None

    def __len__(self) -> int:
        return len(self.ids)


def is_stream(points: Any) -> bool:
    """Whether points come one by one."""
    return not is_table(points)


def from_table(table: Any, fields: Mapping[str, AnyField], id_column: str) -> tuple[Any, dict[str, Any], Any]:
    """Ids, vectors and payloads of a table."""
    return take(table, vector_fields(fields), id_column, need_vectors=not has_text(fields))


def has_text(fields: Mapping[str, AnyField]) -> bool:
    """Whether points need no vectors, because there is a text field."""
    return any(field.kind == "text" for field in fields.values())


def vector_columns(vectors: Any, fields: Mapping[str, Field]) -> list[Column]:
    """The vectors of each vector field, checked as far as shapes and types go."""
    if not isinstance(vectors, Mapping):
        if len(fields) != 1:
            known = ", ".join(fields) or "no vector fields"
            expected = f"a dict of fields ({known}) and arrays"
            raise InvalidInput(f"vectors: expected {expected}, got {type(vectors).__name__}")
        vectors = {name: vectors for name in fields}
    found = []
    for name, value in vectors.items():
        if name not in fields:
            known = ", ".join(fields) or "no vector fields"
            raise InvalidInput(f"vectors: expected the collection's fields ({known}), got {name!r}")
        kind = fields[name].kind
        read = {"multi": multi, "sparse": _sparse.column}.get(kind, matrix)
        column = read(value, f"vectors.{name}")
        if kind != "sparse" and len(column.values) and column.values.shape[1] != fields[name].dimension:
            dimensions, got = fields[name].dimension, column.values.shape[1]
            raise InvalidInput(f"vectors.{name}: expected {dimensions} dimensions, got {got}")
        found.append(column._replace(name=name))
    return found


def columns(
    ids: Any, vectors: Any, payloads: Any, fields: Mapping[str, AnyField], batch_bytes: int
) -> tuple[int, Iterator[Batch]]:
    """Batches of what is given in columns, and how many points they are. All is checked before the first."""
    if ids is None or vectors is None:
        missing = "ids" if ids is None else "vectors"
        raise InvalidInput(f"{missing}: expected {missing} beside the others, got nothing")
    checked = as_ids(ids)
    parts = vector_columns(vectors, vector_fields(fields))
    texts = None
    if payloads is not None:
        texts = encode_all(payload_rows(payloads) if is_table(payloads) else payloads)
    count = len(checked)
    if count == 0:
        raise InvalidInput("ids: expected at least one point, got none")
    for part in parts:
        if part.points != count:
            raise InvalidInput(f"vectors.{part.name}: expected vectors of {count} points, got {part.points}")
    if texts is not None and len(texts) != count:
        raise InvalidInput(f"payloads: expected {count} payloads, got {len(texts)}")
    refuse_duplicates(checked)
    return count, _cut(checked, parts, texts, batch_bytes)


def _cut(ids: Ids, parts: list[Column], texts: list[str | None] | None, batch_bytes: int) -> Iterator[Batch]:
    sizes = np.full(len(ids), 16, np.int64)
    for part in parts:
        row = part.values.itemsize * (part.values.shape[1] if part.values.ndim == 2 else 2)
        sizes += row if part.offsets is None else row * np.diff(part.offsets)
    if texts is not None:
        sizes += np.fromiter((len(text) if text else 0 for text in texts), np.int64, len(texts))
    ends = np.cumsum(sizes)
    start = 0
    while start < len(ids):
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + batch_bytes, side="right"))
        end = min(max(end, start + 1), start + BATCH_POINTS)
        cut = [_slice(part, start, end) for part in parts]
        yield Batch(start, ids[start:end], cut, None if texts is None else texts[start:end])
        start = end


def _slice(part: Column, start: int, end: int) -> Column:
    present = None if part.present is None else part.present[start:end]
    if part.offsets is not None:
        offsets = part.offsets[start : end + 1]
        values = part.values[offsets[0] : offsets[-1]]
        indices = None if part.indices is None else part.indices[offsets[0] : offsets[-1]]
        return Column(part.name, values, offsets - offsets[0], present, indices)
    if part.present is not None:
        first = int(np.count_nonzero(part.present[:start]))
        last = int(np.count_nonzero(part.present[:end]))
        return Column(part.name, part.values[first:last], None, present)
    return Column(part.name, part.values[start:end], None, None)


def from_points(points: Iterable[Any], fields: Mapping[str, AnyField], batch_bytes: int) -> Iterator[Batch]:
    """Batches of points as they come. Of an id that comes twice the last wins."""
    if isinstance(points, (str, bytes, Mapping, Point)) or not isinstance(points, Iterable):
        raise InvalidInput(f"points: expected an iterable of points or a table, got {type(points).__name__}")
    first, size, waiting, named = 0, 0, [], vector_fields(fields)
    for at, point in enumerate(points):
        waiting.append(_parts(point, f"points[{at}]"))
        _, vectors, payload = waiting[-1]
        size += sum(map(_bytes, vectors.values())) + len(payload or "")
        if size >= batch_bytes or len(waiting) >= STREAM_POINTS:
            yield _batch(first, waiting, named)
            first, size, waiting = at + 1, 0, []
    if waiting:
        yield _batch(first, waiting, named)
    elif first == 0:
        raise InvalidInput("points: expected at least one point, got none")


def _bytes(vector: Any) -> int:
    size = getattr(vector, "nbytes", None)
    if size is not None:
        return int(size)
    return 4 * len(vector) if isinstance(vector, list) else _sparse.size_bytes(vector)


def _parts(point: Any, name: str) -> tuple[Any, Mapping[str, Any], str | None]:
    if isinstance(point, Point):
        return point.id, point.vectors, point.payload_json
    if not isinstance(point, Mapping):
        raise InvalidInput(f"{name}: expected a lanner.Point or a dict, got {type(point).__name__}")
    unknown = point.keys() - {"id", "vectors", "payload"}
    if unknown or "id" not in point:
        keys = ", ".join(map(repr, point))
        raise InvalidInput(f"{name}: expected the keys 'id', 'vectors' and 'payload', got {keys}")
    vectors = point.get("vectors") or {}
    if not isinstance(vectors, Mapping):
        raise InvalidInput(f"{name}.vectors: expected a dict of fields, got {type(vectors).__name__}")
    return point["id"], vectors, encode(point.get("payload"), f"{name}.payload")


def _batch(
    first: int, points: list[tuple[Any, Mapping[str, Any], str | None]], fields: Mapping[str, Field]
) -> Batch:
    try:
        ids = id_list([point[0] for point in points], "id")
    except InvalidInput as error:
        raise _placed(error, first, "id", "id") from None
    names = dict.fromkeys(name for point in points for name in point[1])
    parts = []
    for name in names:
        values = [point[1].get(name) for point in points]
        try:
            parts += vector_columns({name: values}, fields)
        except InvalidInput as error:
            raise _placed(error, first, f"vectors.{name}", f"vectors.{name}") from None
    payloads = [point[2] for point in points]
    return Batch(first, ids, parts, payloads if any(payloads) else None)


def _placed(error: InvalidInput, first: int, column: str, name: str) -> InvalidInput:
    """`column[3]: …` as `points[first + 3].name: …`."""
    text = str(error)
    if text.startswith(f"{column}["):
        at, rest = text[len(column) + 1 :].split("]", 1)
        if at.isdigit():
            return InvalidInput(f"points[{first + int(at)}].{name}{rest}")
    return error
