"""The native module: one kind of database, whether it is in this process or behind a server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
from typing_extensions import Self

from ._arrays import Column
from ._sparse import SparseVector

__version__: str

PointParts = tuple[int | str, str | None, dict[str, numpy.ndarray | SparseVector] | None, list[str]]
"""Id, payload as JSON, vectors, and the fields whose vectors are reconstructed."""
StageParts = tuple[str, str, int, int, int]
FragmentParts = tuple[str, str, list[tuple[int, int]]]
"""Path, text, and what matched, as characters from and to."""
JobParts = tuple[int, str, str, str, str | None, str, int, int, float]
"""Id, kind, collection, state, reason, phase, done, total, seconds."""

def sparse_entries(
    indices: numpy.ndarray, values: numpy.ndarray, name: str
) -> tuple[numpy.ndarray, numpy.ndarray]: ...

class CancelToken:
    def __new__(cls) -> CancelToken: ...
    def cancel(self) -> None: ...

class TextQuery:
    def __new__(cls, text: str) -> Self: ...
    @property
    def text(self) -> str: ...

class Request:
    def __new__(
        cls,
        field: str,
        query: Any,
        limit: int,
        offset: int,
        filter: Any,
        with_payload: bool,
        with_vectors: bool,
        id: int | str | None,
        positive: Sequence[int | str] | None,
        negative: Sequence[int | str] | None,
        score_threshold: float | None,
        exact: bool,
        rerank: int | None,
        search_window: int | None,
        target_recall: float | None,
        rescore: Any,
        highlight: Any,
        explain: bool,
    ) -> Self: ...

class Answer:
    estimated_recall: float | None
    sequence: int
    def __len__(self) -> int: ...
    def ids(self) -> list[int | str]: ...
    def scores(self) -> numpy.ndarray: ...
    def hit(self, at: int) -> tuple[float, PointParts, list[FragmentParts]]: ...
    def explanations(self) -> list[list[StageParts]]: ...

class BatchAnswer:
    def __len__(self) -> int: ...
    def arrays(self, limit: int) -> tuple[numpy.ndarray | None, numpy.ndarray]: ...
    def id_lists(self, limit: int) -> list[list[int | str | None]]: ...
    def estimated_recalls(self) -> numpy.ndarray: ...
    def query(self, at: int) -> Answer: ...

class Backend:
    closed: bool
    timeout: float | None
    @staticmethod
    def open(
        path: str,
        threads: int,
        build_threads: int,
        index_rows: int | None,
        seal_bytes: int | None,
        segment_bytes: int | None,
    ) -> Backend: ...
    @staticmethod
    def connect(
        address: str,
        api_key: str | None,
        roots: str | None,
        identity: tuple[str, str] | None,
        timeout: float | None,
        retries: int,
    ) -> Backend: ...
    def within(self, timeout: float | None, token: CancelToken | None) -> Backend: ...
    def close(self) -> None: ...
    def create(
        self, name: str, config: str, training: Mapping[str, tuple[numpy.ndarray, numpy.ndarray | None]]
    ) -> None: ...
    def drop(self, name: str) -> None: ...
    def collections(self) -> list[tuple[str, int | None, str | None]]: ...
    def info(self, name: str) -> str: ...
    def upsert(
        self,
        name: str,
        first: int,
        ids: Any,
        vectors: Sequence[Column],
        payloads: list[str | None] | None,
        buffered: bool,
    ) -> int: ...
    def update_vectors(
        self,
        name: str,
        ids: Any,
        vectors: Sequence[Column],
        buffered: bool,
    ) -> tuple[int, list[int | str]]: ...
    def update_payloads(
        self, name: str, points: list[int | str] | str, how: str, value: Any, buffered: bool
    ) -> tuple[int, list[int | str]]: ...
    def delete(self, name: str, ids: list[int | str], buffered: bool) -> int: ...
    def delete_where(self, name: str, filter: str, buffered: bool) -> int: ...
    def query(self, name: str, request: Request) -> Answer: ...
    def batch(
        self,
        name: str,
        request: Request,
        queries: numpy.ndarray | list[str | TextQuery],
        offsets: numpy.ndarray | None,
        indices: numpy.ndarray | None,
    ) -> BatchAnswer: ...
    def fuse(
        self,
        name: str,
        searches: list[Any],
        weights: list[float] | None,
        k: float | None,
        scores: str | None,
        limit: int,
        offset: int,
        with_payload: bool,
        with_vectors: bool,
        explain: bool,
    ) -> Answer: ...
    def groups(
        self, name: str, request: Request, path: str, group_size: int
    ) -> tuple[list[tuple[str, Answer]], float | None, list[StageParts] | None]: ...
    def get(
        self, name: str, ids: list[int | str], with_payload: bool, with_vectors: bool
    ) -> list[PointParts]: ...
    def scroll(
        self,
        name: str,
        filter: str | None,
        after: int | str | None,
        limit: int,
        with_payload: bool,
        with_vectors: bool,
    ) -> tuple[list[PointParts], int | str | None]: ...
    def scroll_ordered(
        self,
        name: str,
        path: str,
        descending: bool,
        filter: str | None,
        after: Any,
        limit: int,
        with_payload: bool,
        with_vectors: bool,
    ) -> tuple[list[PointParts], Any]: ...
    def count(self, name: str, filter: str | None) -> int: ...
    def facet(
        self, name: str, path: str, filter: str | None, limit: int
    ) -> tuple[list[tuple[str, int]], int]: ...
    def flush(self, name: str) -> None: ...
    def train(
        self, name: str, field: str, queries: tuple[numpy.ndarray, numpy.ndarray | None] | None
    ) -> JobParts: ...
    def optimize(self, name: str) -> JobParts: ...
    def declare(self, name: str, path: str, payload_type: str) -> JobParts: ...
    def verify(self, name: str) -> JobParts: ...
    def jobs(self) -> list[JobParts]: ...
    def wait(self, id: int, progress: Callable[[JobParts], None] | None) -> None: ...
    def cancel(self, id: int) -> None: ...

class KeyIndex:
    def __new__(
        cls, keys: numpy.ndarray, queries: numpy.ndarray, share: float, lists: int | None, seed: int
    ) -> Self: ...
    def append(self, keys: numpy.ndarray) -> None: ...
    def fork(self) -> Self: ...
    def __len__(self) -> int: ...
    @property
    def dimension(self) -> int: ...
    @property
    def lists(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    def search(self, queries: numpy.ndarray, keys: numpy.ndarray | None, parts: Any) -> tuple[numpy.ndarray, ...]: ...
    def attend(
        self, queries: numpy.ndarray, keys: numpy.ndarray, values: numpy.ndarray, parts: Any
    ) -> tuple[numpy.ndarray, ...]: ...

def search_heads(
    indexes: Sequence[KeyIndex], queries: numpy.ndarray, keys: Sequence[numpy.ndarray] | None, parts: Any
) -> tuple[numpy.ndarray, ...]: ...
