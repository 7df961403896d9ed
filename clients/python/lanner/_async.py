"""The interface for coroutines.

Calls run on threads, where the engine and the connection leave Python's lock alone. Cancelling the task
that waits for a call cancels the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._collection import Collection
from ._database import Database
from ._native import CancelToken
from ._results import Point

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Concatenate, ParamSpec

    from ._fields import AnyField
    from ._filters import Filter

    P = ParamSpec("P")

R = TypeVar("R")
T = TypeVar("T")

__all__ = ["AsyncCollection", "AsyncDatabase"]

_THREADS = 32


class _Calls:
    """The threads that calls run on."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, "lanner-call")

    async def run(self, call: Callable[[CancelToken], R]) -> R:
        token = CancelToken()
        waiting = asyncio.get_running_loop().run_in_executor(self._executor, call, token)
        try:
            return await waiting
        except asyncio.CancelledError:
            token.cancel()
            raise

    def close(self) -> None:
        self._executor.shutdown(wait=False)


class _Async(Generic[T]):
    """What has a coroutine for each method of a `T`."""

    _calls: _Calls

    def _within(self, token: CancelToken) -> T:
        """The `T` whose calls the token cancels."""
        raise NotImplementedError


def _coroutine(
    method: Callable[Concatenate[T, P], R],
) -> Callable[Concatenate[_Async[T], P], Coroutine[Any, Any, R]]:
    @wraps(method)
    async def call(self: _Async[T], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._calls.run(lambda token: method(self._within(token), *args, **kwargs))

    return call  # type: ignore[return-value]


class AsyncCollection(_Async[Collection]):
    """As `Collection`, with coroutines for methods."""

    def __init__(self, collection: Collection, calls: _Calls) -> None:
        self._collection = collection
        self._calls = calls

    def _within(self, token: CancelToken) -> Collection:
        return self._collection._cancelled_by(token)

    @property
    def name(self) -> str:
        """Its name."""
        return self._collection.name

    def with_timeout(self, seconds: float | None) -> AsyncCollection:
        """As `Collection.with_timeout`."""
        return AsyncCollection(self._collection.with_timeout(seconds), self._calls)

    upsert = _coroutine(Collection.upsert)
    delete = _coroutine(Collection.delete)
    update_payloads = _coroutine(Collection.update_payloads)
    update_vectors = _coroutine(Collection.update_vectors)
    query = _coroutine(Collection.query)
    batch_query = _coroutine(Collection.batch_query)
    fuse = _coroutine(Collection.fuse)
    rescore = _coroutine(Collection.rescore)  # type: ignore[arg-type]
    recommend = _coroutine(Collection.recommend)
    query_groups = _coroutine(Collection.query_groups)
    explain = _coroutine(Collection.explain)  # type: ignore[arg-type]
    get = _coroutine(Collection.get)
    count = _coroutine(Collection.count)
    facet = _coroutine(Collection.facet)
    train = _coroutine(Collection.train)
    optimize = _coroutine(Collection.optimize)
    declare = _coroutine(Collection.declare)
    verify = _coroutine(Collection.verify)
    flush = _coroutine(Collection.flush)
    info = _coroutine(Collection.info)

    async def scroll(
        self, filter: Filter | None = None, *, page_size: int = 1_000, **options: Any
    ) -> AsyncIterator[Point]:
        """As `Collection.scroll`: `async for point in collection.scroll(…)`."""
        points = self._collection.scroll(filter, page_size=page_size, **options)
        while page := await self._calls.run(lambda _: [point for _, point in zip(range(page_size), points)]):
            for point in page:
                yield point

    def __repr__(self) -> str:
        return f"lanner.AsyncCollection({self.name!r})"


class AsyncDatabase(_Async[Database]):
    """As `Database`, with coroutines for methods; made by `lanner.connect_async`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._calls = _Calls()

    def _within(self, token: CancelToken) -> Database:
        return Database(self._database._backend.within(None, token), self._database._place)

    async def create_collection(
        self,
        name: str,
        fields: Mapping[str, AnyField],
        payload: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncCollection:
        """As `Database.create_collection`."""
        create = partial(self._database.create_collection, name, fields, payload, **options)
        return AsyncCollection(await self._calls.run(lambda _: create()), self._calls)

    async def collection(self, name: str) -> AsyncCollection:
        """As `Database.collection`."""
        return AsyncCollection(await self._calls.run(lambda _: self._database.collection(name)), self._calls)

    list = _coroutine(Database.list)
    drop = _coroutine(Database.drop)
    jobs = _coroutine(Database.jobs)

    async def close(self) -> None:
        """Closes the connection."""
        await self._calls.run(lambda _: self._database.close())
        self._calls.close()

    async def __aenter__(self) -> AsyncDatabase:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._database).replace("Database", "AsyncDatabase", 1)
