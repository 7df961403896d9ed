"""A database: in a folder of this process, or behind a server."""

from __future__ import annotations

import atexit
import functools
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, List, Union

from ._collection import Collection, training_queries
from ._errors import AlreadyExists, Error, InvalidInput
from ._fields import AnyField, config
from ._info import CollectionSummary
from ._jobs import Job
from ._lazy import json
from ._native import Backend

if TYPE_CHECKING:
    from ._async import AsyncDatabase

__all__ = ["Database", "connect", "connect_async", "open"]

Path = Union[str, "os.PathLike[str]"]

_open: weakref.WeakSet[Database] = weakref.WeakSet()


class Database:
    """Collections of points; made by `lanner.open` and `lanner.connect`.

    It is a context manager, and closes at the end of the block, or else when the program ends.
    """

    def __init__(self, backend: Backend, place: str) -> None:
        self._backend = backend
        self._place = place

    def create_collection(
        self,
        name: str,
        fields: Mapping[str, AnyField],
        payload: Mapping[str, Any] | None = None,
        *,
        training: Mapping[str, Any] | None = None,
        exist_ok: bool = False,
    ) -> Collection:
        """Creates a collection.

        Args:
            name: 1 to 64 of `a-z`, `0-9`, `_` and `-`.
            fields: Vector and text fields by name, as in
                `{"v": lanner.vector(384, metric="cosine"), "words": lanner.text("title", "text")}`.
            payload: Payload paths that filters use often, and their types: `"keyword"`, `"integer"`,
                `"float"`, `"boolean"`, `"datetime"`, or `str`, `int`, `float`, `bool`, `datetime`.
            training: By field, queries of the kind that will come, as of `Collection.batch_query`; they
                train its compression.
            exist_ok: Returns a collection of this name and these settings, if there is one.

        Raises:
            AlreadyExists: There is a collection of this name.
        """
        settings = config(fields, payload)
        samples = {}
        for field, queries in (training or {}).items():
            kind = fields[field].kind if field in fields else "single"
            samples[field] = training_queries(queries, kind)
        try:
            self._backend.create(name, json.dumps(settings), samples)
        except AlreadyExists:
            if not exist_ok:
                raise
            found = Collection(self._backend, name)
            info = found.info()
            if info.fields != dict(fields) or info.payload != settings["payload"]:
                raise
            return found
        return Collection(self._backend, name)

    def collection(self, name: str) -> Collection:
        """The collection of this name; `database[name]` for short.

        Raises:
            NotFound: There is none.
        """
        found = Collection(self._backend, name)
        found.count()
        return found

    def __getitem__(self, name: str) -> Collection:
        return self.collection(name)

    def __contains__(self, name: object) -> bool:
        return any(found.name == name for found in self.list())

    def __iter__(self) -> Iterator[str]:
        return (found.name for found in self.list())

    def list(self) -> List[CollectionSummary]:
        """All collections by name, with their number of points or why they are unusable."""
        return [CollectionSummary(*found) for found in self._backend.collections()]

    def drop(self, name: str) -> None:
        """Deletes a collection with all its points."""
        self._backend.drop(name)

    def jobs(self) -> List[Job]:
        """The jobs that have not ended, and the last that have."""
        return [Job(self._backend, info) for info in self._backend.jobs()]

    def with_timeout(self, seconds: float | None) -> Database:
        """The same database, whose calls fail with `DeadlineExceeded` after so many seconds."""
        return Database(self._backend.within(seconds, None), self._place)

    def close(self) -> None:
        """Closes it: writes are durable then, and other processes may open it."""
        self._backend.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " (closed)" if self._backend.closed else ""
        return f"lanner.Database({self._place!r}){state}"

    def _repr_html_(self) -> str:
        from ._html import table

        return table(["collection", "points", ""], [[n, p, e or ""] for n, p, e in self.list()], self._place)


def open(
    path: Path,
    *,
    threads: int = 0,
    build_threads: int = 0,
    index_rows: int | None = None,
    seal_bytes: int | None = None,
    segment_bytes: int | None = None,
) -> Database:
    """Opens the database in a folder, inside this process; creates it if the folder is missing or empty.

    One process has a folder open at a time, and its child processes open it themselves.

    Args:
        threads: Number of threads that queries run on; 0 for one a core.
        build_threads: Threads that seal, merge, train and index in the background; 0 for one a core.
        index_rows: Rows from which a segment gets an index [10,000]; smaller ones are scanned.
        seal_bytes: Size of the points in memory at which they are sealed, in bytes [64 MiB].
        segment_bytes: Size beyond which merges do not go, in bytes [4 GiB].

    Raises:
        Locked: Another process has it open.
    """
    folder = os.fspath(path)
    if not isinstance(folder, str):
        raise InvalidInput(f"path: expected a text, got {type(folder).__name__}")
    backend = Backend.open(folder, threads, build_threads, index_rows, seal_bytes, segment_bytes)
    _guard_forks()
    return _opened(Database(backend, folder))


def connect(
    address: str = "127.0.0.1:7700",
    *,
    api_key: str | None = None,
    tls: Path | None = None,
    identity: tuple[Path, Path] | None = None,
    timeout: float | None = 60.0,
    retries: int = 4,
) -> Database:
    """Connects to a server.

    Args:
        address: `host:port`; port 7700 if there is none.
        api_key: Key, if the server wants one.
        tls: File of the roots of the server's certificate (PEM); the connection is encrypted then.
        identity: Files of a certificate and its private key (PEM), if the server wants those of clients.
        timeout: Seconds that a call may take; `None` for no limit. Waiting for jobs is not meant, and a
            batch of an upsert has ten times as long, since writes wait while a server seals others.
        retries: How often a call is tried again while the server is away or short of memory, after pauses
            that grow, with jitter. Creating and dropping collections is tried once.

    Raises:
        Unavailable: The server cannot be reached.
        Unauthenticated: It wants a key, or another one.
    """
    files = None if identity is None else (os.fspath(identity[0]), os.fspath(identity[1]))
    roots = None if tls is None else os.fspath(tls)
    return _opened(Database(Backend.connect(address, api_key, roots, files, timeout, retries), address))


async def connect_async(
    address: str = "127.0.0.1:7700",
    *,
    api_key: str | None = None,
    tls: Path | None = None,
    identity: tuple[Path, Path] | None = None,
    timeout: float | None = 60.0,
    retries: int = 4,
) -> AsyncDatabase:
    """Connects to a server, for coroutines: as `lanner.connect`, and the methods are coroutines.

    Cancelling the task of a call cancels the call.
    """
    import asyncio
    from functools import partial

    from ._async import AsyncDatabase

    call = partial(
        connect, address, api_key=api_key, tls=tls, identity=identity, timeout=timeout, retries=retries
    )
    return AsyncDatabase(await asyncio.get_running_loop().run_in_executor(None, call))


def _opened(database: Database) -> Database:
    _open.add(database)
    return database


@functools.cache
def _guard_forks() -> None:
    os.register_at_fork(after_in_child=_end_at_once)


def _end_at_once() -> None:
    """Lets a fork end without the destructors of RocksDB, which wait for threads that it does not have.

    `on_exit` calls the last function first, with the exit code, when Python has ended already.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):
        libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)


@atexit.register
def _close_all() -> None:
    for database in list(_open):
        # In a forked child: it is not the child's to close.
        with suppress(Error):
            database.close()
