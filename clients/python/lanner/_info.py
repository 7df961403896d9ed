"""What a database says of its collections and jobs."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._fields import AnyField, Field, TextField
from ._lazy import json

__all__ = ["CollectionInfo", "CollectionSummary", "SegmentInfo"]


class CollectionSummary(NamedTuple):
    """A collection in the list of a database."""

    name: str
    points: int | None
    """Number of points; `None` if it is unusable."""
    error: str | None
    """Why it is unusable, if so."""


class SegmentInfo(NamedTuple):
    """A segment: the unit of build, search and merge."""

    number: int | None
    """Its number; `None` while it is in memory."""
    rows: int
    """Rows, deleted ones included."""
    deleted: int
    size_bytes: int
    """Bytes on disk, or in memory."""
    codecs: dict[str, Any]
    """How fields are compressed: what was trained, tried and chosen."""
    indexes: dict[str, Any]
    """How far the index of each field is (`status`), and its `report` once it is ready."""
    files: list[dict[str, Any]]
    centroids: dict[str, Any]
    """Of multi fields: the number of token centroids, the share of a vector that is left without its
    centroid (`loss`), and what all vectors have in `common`, both of the squared length."""


class CollectionInfo(NamedTuple):
    """What a collection consists of."""

    name: str
    points: int
    fields: dict[str, AnyField]
    payload: dict[str, str]
    """The declared payload paths and their types."""
    sequence: int
    """Sequence number of the last write."""
    segments: list[SegmentInfo]
    """Oldest first."""
    background_error: str | None
    """Why nothing can be written, background work failed, or which segments are damaged."""
    training_failures: dict[str, str]
    """Why fields have no newly trained codec."""

    def _repr_html_(self) -> str:
        from ._html import info

        return info(self)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}: {field!r}" for name, field in self.fields.items())
        return (
            f"CollectionInfo({self.name!r}, {self.points:,} points, {len(self.segments)} segments, {fields})"
        )


def read(text: str) -> CollectionInfo:
    """From the JSON of the native module."""
    tree = json.loads(text)
    fields: dict[str, AnyField] = {
        name: (TextField if settings["kind"] == "text" else Field)(**settings)
        for name, settings in tree["fields"].items()
    }
    segments = [
        SegmentInfo(**{name: segment[name] for name in SegmentInfo._fields}) for segment in tree["segments"]
    ]
    rest = ("name", "points", "payload", "sequence", "background_error", "training_failures")
    return CollectionInfo(fields=fields, segments=segments, **{name: tree[name] for name in rest})
