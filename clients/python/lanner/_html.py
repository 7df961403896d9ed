"""Tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ._fields import TextField, vector_fields

if TYPE_CHECKING:
    from ._info import CollectionInfo, SegmentInfo
    from ._results import Hits

_SHOWN = 20
_PATHS = 6


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """A table; everything in it is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 160 else text[:159] + "…"


def hits(found: Hits) -> str:
    """Rank, score, id and the first payload members of hits."""
    shown = found[:_SHOWN]
    paths = list(dict.fromkeys(path for hit in shown for path in (hit.payload or {})))[:_PATHS]
    rows = [
        [rank, f"{hit.score:.5g}", hit.id, *(_cell((hit.payload or {}).get(path)) for path in paths)]
        for rank, hit in enumerate(shown, 1)
    ]
    recall = found.estimated_recall
    expected = "" if recall is None else f", estimated recall {recall:.3f}"
    caption = f"{len(found)} hits{expected}" + (f", the first {_SHOWN}" if len(found) > _SHOWN else "")
    return table(["", "score", "id", *paths], rows, caption)


def _codes(segment: SegmentInfo) -> Iterable[str]:
    """The code of each compressed field, or the number of centroids of one that is scanned by them."""
    for name, codec in segment.codecs.items():
        yield f"{name}: {codec['ladder'][-1]['code']}"
    for name, centroids in segment.centroids.items():
        if name not in segment.codecs:
            yield f"{name}: {centroids['count']} centroids"


def info(described: CollectionInfo) -> str:
    """Fields and segments of a collection."""
    vectors = [
        [name, field.kind, field.dimension or "", field.metric, field.element, field.compression, field.index]
        for name, field in vector_fields(described.fields).items()
    ]
    texts = [
        [name, ", ".join(field.paths), field.analyzer, field.k1, field.b]
        for name, field in described.fields.items()
        if isinstance(field, TextField)
    ]
    heads = ["field", "kind", "dimension", "metric", "element", "compression", "index"]
    caption = f"{described.name}: {described.points:,} points"
    segments = [
        [
            "in memory" if segment.number is None else segment.number,
            f"{segment.rows:,}",
            f"{segment.deleted:,}",
            f"{segment.size_bytes:,}",
            ", ".join(_codes(segment)),
            ", ".join(f"{name}: {index['status']}" for name, index in segment.indexes.items()),
        ]
        for segment in described.segments
    ]
    parts: list[str] = []
    for names, fields in ((heads, vectors), (["text field", "paths", "analyzer", "k1", "b"], texts)):
        if fields:
            parts.append(table(names, fields, "" if parts else caption))
    if described.payload:
        parts.append(table(["payload path", "type"], described.payload.items()))
    parts.append(table(["segment", "rows", "deleted", "bytes", "codes", "indexes"], segments))
    if described.background_error:
        parts.append(f"<p>{escape(described.background_error)}</p>")
    return "".join(parts)
