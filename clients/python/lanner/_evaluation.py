"""What the evaluation adapters share: embeddings of any encoder in, rankings out.

The packages that judge retrieval give an index one field of embeddings and take ids and scores. Whether
the field has one vector or many vectors a document is read off the first embeddings.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _arrays
from ._database import open as open_database
from ._errors import InvalidInput
from ._fields import multivector, vector

if TYPE_CHECKING:
    from ._collection import Collection
    from ._database import Database
    from ._fields import Field
    from ._filters import Filter
    from ._results import BatchHits, PointId

__all__ = ["MAX_LIMIT", "Corpus", "Embeddings", "field_of", "read_embeddings"]

MAX_LIMIT = 10_000
"""Number of hits of a query, at most."""

FIELD = "embedding"


class Embeddings(NamedTuple):
    """Embeddings of texts as `Collection.upsert` and `.batch_query` take them."""

    values: Any
    """[texts, dimension]; or a list of [n, dimension], with `None` for texts without a vector."""
    many: bool
    """Whether there are many vectors a text."""
    texts: int
    dimension: int


def read_embeddings(embeddings: Any, name: str) -> Embeddings:
    """The embeddings of an encoder: arrays, tensors, or sequences of them.

    Single: [texts, dimension]. Multi: [texts, n, dimension] or a sequence of [n, dimension].
    """
    rows = embeddings
    if not hasattr(rows, "ndim") or str(getattr(rows, "dtype", "")) == "object":
        rows = list(rows)
    if _dimensions(rows) != 3:
        column = _arrays.matrix(rows, name)
        return Embeddings(column.values, False, column.points, column.values.shape[1])
    if isinstance(rows, list):
        rows = [row if len(row) else None for row in rows]
    column = _arrays.multi(rows, name)
    values = rows if column.offsets is None or column.present is not None else _ragged(column)
    return Embeddings(values, True, column.points, column.values.shape[1])


def _ragged(column: _arrays.Column) -> _arrays.Ragged:
    return _arrays.Ragged(column.values, column.offsets)


def _dimensions(value: Any) -> int:
    """Number of axes of an array, or of nested sequences."""
    if hasattr(value, "ndim"):
        return int(value.ndim)
    if isinstance(value, (list, tuple)):
        return 1 + max(map(_dimensions, value[:1]), default=0)
    return 0


def field_of(read: Embeddings, metric: str, settings: dict[str, Any]) -> Field:
    """The field that holds embeddings."""
    return (multivector if read.many else vector)(read.dimension, metric, **settings)  # type: ignore[arg-type]


class Corpus:
    """The documents that are judged: one collection, made from the first embeddings that come.

    It lives in the database given, under a name of its own, or else in a temporary folder. `clear`
    removes it.
    """

    def __init__(self, database: Database | None, metric: str, settings: dict[str, Any]) -> None:
        self._database = database
        self._metric = metric
        self._settings = settings
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._owned: Database | None = None
        self._collection: Collection | None = None
        self._many = False
        self._settled = True
        self._documents = 0

    def __len__(self) -> int:
        return self._documents

    def add(self, ids: Sequence[PointId], embeddings: Any) -> None:
        """Adds documents: one id and one embedding each."""
        read = read_embeddings(embeddings, "documents")
        if read.texts != len(ids):
            raise InvalidInput(f"documents: expected {len(ids)} embeddings, one a document, got {read.texts}")
        if not read.texts:
            return
        if self._collection is None:
            self._collection = self._create(read)
        self._same_kind(read, "documents")
        self._collection.upsert(ids=ids, vectors=read.values, durability="buffered", progress=False)
        self._documents += read.texts
        self._settled = False

    def search(
        self,
        embeddings: Any,
        limit: int,
        *,
        filter: Filter | None = None,
        exact: bool = False,
        target_recall: float | None = None,
    ) -> BatchHits:
        """Finds the best documents of each query; at most all of them, and 10,000.

        Documents are sealed, merged and indexed before the first search.
        """
        if self._collection is None:
            raise InvalidInput("documents: expected at least one before a search, got none")
        read = read_embeddings(embeddings, "queries")
        self._same_kind(read, "queries")
        if not self._settled:
            self._collection.optimize(progress=False)
            self._settled = True
        return self._collection.batch_query(
            FIELD,
            read.values,
            limit=min(limit, self._documents, MAX_LIMIT),
            filter=filter,
            exact=exact,
            target_recall=target_recall,
        )

    def clear(self) -> None:
        """Removes the documents, and the temporary folder if there is one."""
        collection, self._collection, self._documents, self._settled = self._collection, None, 0, True
        if collection is not None and self._database is not None:
            self._database.drop(collection.name)
        if self._owned is not None:
            self._owned.close()
            self._owned = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def _create(self, read: Embeddings) -> Collection:
        database = self._database
        if database is None:
            self._folder = tempfile.TemporaryDirectory(prefix="lanner-")
            database = self._owned = open_database(self._folder.name)
        self._many = read.many
        field = field_of(read, self._metric, self._settings)
        created = database.create_collection(f"evaluation-{uuid.uuid4().hex[:12]}", {FIELD: field})
        # A thousand queries of many vectors are one call, which no default deadline is meant for.
        return created.with_timeout(None)

    def _same_kind(self, read: Embeddings, name: str) -> None:
        if read.many != self._many:
            kinds = {False: "one vector a text", True: "many vectors a text"}
            raise InvalidInput(
                f"{name}: expected {kinds[self._many]} as of the documents, got {kinds[read.many]}"
            )
