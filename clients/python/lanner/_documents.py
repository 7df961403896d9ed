"""What the adapters of frameworks share: documents as points of a collection.

Frameworks name documents by texts of any length, filter by metadata, and often say how long vectors
are only with the first document.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar, copy_context
from functools import partial, wraps
from typing import Any, TypeVar

from ._collection import Collection
from ._database import Database, open
from ._errors import InvalidInput, NotFound
from ._fields import vector, vector_fields
from ._filters import Condition, Filter
from ._native import CancelToken

R = TypeVar("R")

__all__ = [
    "EVERYTHING", "VECTOR", "Documents", "below", "cancellable", "document_id", "in_thread", "point_id",
    "relevance", "shared",
]  # fmt: skip

VECTOR = "embedding"
"""The vector field of documents."""

EVERYTHING: dict[str, Any] = {"and": []}
"""The filter that every document passes."""

_LONGEST_ID = 512

_token: ContextVar[CancelToken | None] = ContextVar("lanner cancel token", default=None)
"""What cancels the calls of the coroutine that runs on this thread."""

_opened: weakref.WeakValueDictionary[str, Database] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def shared(path: str | os.PathLike[str]) -> Database:
    """The database of a folder, opened once for all adapters of the process that use it."""
    place = os.path.realpath(path)
    with _opening:
        database = _opened.get(place)
        if database is None or database._backend.closed:
            database = _opened[place] = open(place)
        return database


def point_id(name: str) -> str:
    """The point of a document: its id, or the hash of an id that is too long for a point (or empty)."""
    if not isinstance(name, str):
        raise InvalidInput(f"ids: expected texts, got {type(name).__name__}")
    text = name.encode(errors="surrogatepass")
    return name if 0 < len(text) <= _LONGEST_ID else f"sha256:{hashlib.sha256(text).hexdigest()}"


def document_id(point: Any) -> str:
    """The id of the document of a point, which its payload holds if the point could not."""
    return str((point.payload or {}).get("id", point.id))


def below(prefix: str, filter: Filter) -> dict[str, Any]:
    """A filter over metadata as one over payloads, where `prefix` holds the metadata.

    Besides Lanner's own form (docs/filters.md) it reads the operators of others: `$and`, `$or`, `$not`,
    `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists`.
    """
    tree = filter.to_dict() if isinstance(filter, Condition) else filter
    if not isinstance(tree, Mapping):
        expected = "a condition as of lanner.field, or a dict"
        raise InvalidInput(f"filter: expected {expected}, got {type(tree).__name__}")
    if "field" in tree:
        return {**tree, "field": f"{prefix}.{tree['field']}"}
    parts = [_part(prefix, key, value) for key, value in tree.items()]
    return parts[0] if len(parts) == 1 else {"and": parts}


def _part(prefix: str, key: str, value: Any) -> dict[str, Any]:
    word = str(key).removeprefix("$")
    if word in ("and", "or") and isinstance(value, Sequence) and not isinstance(value, str):
        return {word: [below(prefix, part) for part in value]}
    if word == "not":
        return {"not": below(prefix, value)}
    if key == "ids":
        return {"ids": [point_id(name) for name in value]}
    if isinstance(value, Mapping):
        value = {test.removeprefix("$"): operand for test, operand in value.items()}
    else:
        value = {"null": True} if value is None else {"eq": value}
    return {"field": f"{prefix}.{key}", **value}


def relevance(metric: str, score: float) -> float:
    """A score as a number from 0 to 1, higher is better.

    Cosines are moved from [-1, 1], dot products go through the logistic function, and a distance d is
    1 / (1 + d).
    """
    if metric == "cosine":
        return min(max((1 + score) / 2, 0.0), 1.0)
    if metric == "dot":
        return 0.5 * (1 + math.tanh(score / 2))
    return 1 / (1 + math.sqrt(max(-score, 0.0)))


def in_thread(method: Callable[..., R]) -> Callable[..., Coroutine[Any, Any, R]]:
    """The coroutine of a method: it runs on a thread, where calls of the engine do not hold Python's lock.

    Cancelling the task cancels what the method calls of a `cancellable` collection.
    """

    @wraps(method)
    async def call(*args: Any, **kwargs: Any) -> R:
        token, context = CancelToken(), copy_context()
        context.run(_token.set, token)
        work = partial(context.run, partial(method, *args, **kwargs))
        waiting = asyncio.get_running_loop().run_in_executor(None, work)
        try:
            return await waiting
        except asyncio.CancelledError:
            token.cancel()
            raise

    return call


def cancellable(collection: Collection) -> Collection:
    """The collection; on a thread of `in_thread`, its calls end when the task that waits is cancelled."""
    token = _token.get()
    return collection if token is None else collection._cancelled_by(token)


class Documents:
    """A collection of documents, created when the first vectors say their dimension.

    Args:
        database: A database, or the folder of one.
        name: Name of the collection; one that exists needs a field `embedding`.
        metric: How vectors are compared.
        payload: Payload paths that filters use often, and their types.
    """

    def __init__(
        self, database: Any, name: str, metric: str = "cosine", payload: Mapping[str, Any] | None = None
    ) -> None:
        self.database: Database = database if isinstance(database, Database) else shared(database)
        self.name = name
        self._metric = metric
        self._payload = dict(payload or {})
        self._found: Collection | None = None

    def collection(self) -> Collection | None:
        """The collection, if there is one by now."""
        if self._found is None:
            try:
                found = self.database.collection(self.name)
            except NotFound:
                return None
            if VECTOR not in vector_fields(found.fields):
                fields = ", ".join(found.fields)
                raise InvalidInput(f"collection {self.name}: expected a field {VECTOR!r}, got {fields}")
            self._found = found
        return cancellable(self._found)

    @property
    def metric(self) -> str:
        """How vectors are compared: as the collection says, if there is one."""
        found = self.collection()
        return self._metric if found is None else vector_fields(found.fields)[VECTOR].metric

    def write(self, points: Mapping[str, tuple[Any, dict[str, Any]]]) -> None:
        """Writes documents by id, each a vector and a payload."""
        if not points:
            return
        vectors = [vector for vector, _ in points.values()]
        payloads = [
            payload if point_id(name) == name else {"id": name, **payload}
            for name, (_, payload) in points.items()
        ]
        collection = self.collection() or self._create(len(vectors[0]))
        collection.upsert(
            ids=[point_id(name) for name in points],
            vectors={VECTOR: vectors},
            payloads=payloads,
            progress=False,
        )

    def _create(self, dimension: int) -> Collection:
        fields = {VECTOR: vector(dimension, self._metric)}  # type: ignore[arg-type]
        self._found = self.database.create_collection(self.name, fields, self._payload, exist_ok=True)
        return cancellable(self._found)
