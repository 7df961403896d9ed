"""Lanner: a vector search engine for single-, multi- and sparse-vector embeddings.

    import lanner

    db = lanner.open("db")  # in this process; lanner.connect("host:7700") for a server
    books = db.create_collection("books", {"text": lanner.vector(384)})
    books.upsert(ids=["moby-dick", "emma"], vectors={"text": vectors}, payloads=[{"year": 1851}, {"year": 1815}])
    for hit in books.query("text", vector, limit=10, filter=lanner.field("year") >= 1820):
        print(hit.score, hit.id, hit.payload)

Vectors are numpy arrays, lists, tensors, or columns of tables, and in a field of `lanner.sparse` also sparse
matrices. `lanner.text` makes a field that is searched by words. Scores are higher-is-better for every metric. docs/python.md is a tutorial and a reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._arrays import Ragged
from ._collection import Collection, Highlight, Rescore, Search
from ._database import Database, connect, connect_async, open
from ._errors import (
    AlreadyExists,
    Cancelled,
    Closed,
    Corrupted,
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    Forked,
    Internal,
    InvalidInput,
    Locked,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from ._fields import Field, TextField, multivector, sparse, text, vector
from ._filters import Condition, field, has_id
from ._info import CollectionInfo, CollectionSummary, SegmentInfo
from ._jobs import Job
from ._native import __version__
from ._results import (
    BatchHits,
    Explanation,
    Facets,
    Fragment,
    Group,
    Groups,
    Hit,
    Hits,
    Point,
    Stage,
    UpdateReceipt,
)
from ._sparse import SparseVector
from ._text import TextQuery

if TYPE_CHECKING:
    from ._async import AsyncCollection, AsyncDatabase

__all__ = [
    "AlreadyExists",
    "AsyncCollection",
    "AsyncDatabase",
    "BatchHits",
    "Cancelled",
    "Closed",
    "Collection",
    "CollectionInfo",
    "CollectionSummary",
    "Condition",
    "Corrupted",
    "Database",
    "DeadlineExceeded",
    "Error",
    "Explanation",
    "Facets",
    "FailedPrecondition",
    "Field",
    "Forked",
    "Fragment",
    "Group",
    "Groups",
    "Highlight",
    "Hit",
    "Hits",
    "Internal",
    "InvalidInput",
    "Job",
    "Locked",
    "NotFound",
    "PermissionDenied",
    "Point",
    "Ragged",
    "Rescore",
    "ResourceExhausted",
    "Search",
    "SegmentInfo",
    "SparseVector",
    "Stage",
    "TextField",
    "TextQuery",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "UpdateReceipt",
    "__version__",
    "connect",
    "connect_async",
    "field",
    "has_id",
    "multivector",
    "open",
    "sparse",
    "text",
    "vector",
]


def __getattr__(name: str) -> Any:
    # What needs asyncio is imported when it is asked for.
    if name in ("AsyncCollection", "AsyncDatabase"):
        from . import _async

        return getattr(_async, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
