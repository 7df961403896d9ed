"""Haystack: a `DocumentStore` over a collection, and its retriever. `pip install lanner[haystack]`

from lanner.haystack import LannerDocumentStore, LannerEmbeddingRetriever

store = LannerDocumentStore("db", embedding_dim=384)
store.write_documents(documents)
retriever = LannerEmbeddingRetriever(store, top_k=5)
"""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy
from haystack.errors import FilterError
from haystack.utils import Secret

from ._collection import Collection
from ._database import connect
from ._documents import EVERYTHING, VECTOR, cancellable, document_id, in_thread, point_id, relevance, shared
from ._errors import InvalidInput, NotFound
from ._fields import vector, vector_fields
from ._results import Point

__all__ = ["LannerDocumentStore", "LannerEmbeddingRetriever"]

# A point needs a vector: documents without an embedding have this one.
_NO_EMBEDDING = "no_embedding"
_WRITTEN = "written"
# {"f4": base64} or {"f8": base64}, little-endian.
_EXACT = "embedding"
_KEPT = ("content", "blob", "sparse_embedding", "score", "meta")


class LannerDocumentStore:
    """Documents of Haystack in a collection, in the order in which they were written.

    A document is a point: `content`, `meta`, `blob`, `sparse_embedding` and `score` are members of its
    payload. Ids are any texts. Metadata are what JSON has; datetimes with a zone and dates come back as
    texts. Documents need no embedding; those that have one have it of `embedding_dim` numbers, not all
    of them zero under the cosine.

    Collections keep vectors as float32, and those compared by the cosine at length 1. Embeddings that this
    changes are kept beside in the payload, so that documents come back as they were written. With
    `exact_embeddings=False` they come back as the collection has them, and payloads are smaller by about 5
    bytes for each dimension (11 in double precision).
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        address: str | None = None,
        api_key: Secret | None = None,
        collection_name: str = "haystack",
        embedding_dim: int = 768,
        metric: str = "cosine",
        meta_types: Mapping[str, str] | None = None,
        exact_embeddings: bool = True,
    ) -> None:
        """Describes a store, which is opened with the first call.

        Args:
            path: The folder of a database in this process; stores of one folder share it.
            address: Or `host:port` of a server.
            api_key: Key, if the server wants one.
            collection_name: Name of the collection, which is created if it is missing.
            embedding_dim: Number of dimensions of embeddings.
            metric: How embeddings are compared: `"cosine"`, `"dot"` or `"l2"`.
            meta_types: Metadata that filters use often, and their types: `"keyword"`, `"integer"`, `"float"`,
                `"boolean"` or `"datetime"`; of a new collection. Filters may name others, too, and are
                slower then.
            exact_embeddings: Whether embeddings come back exactly as they were written.
        """
        if (path is None) == (address is None):
            got = "neither" if path is None else "both"
            raise InvalidInput(f"path: expected the path of a folder or the address of a server, got {got}")
        self.path = None if path is None else os.fspath(path)
        self.address = address
        self.api_key = api_key
        self.collection_name = collection_name
        self.embedding_dim = embedding_dim
        self.metric = metric
        self.meta_types = dict(meta_types or {})
        self.exact_embeddings = exact_embeddings
        self._opened: Collection | None = None
        self._lock = threading.Lock()
        self._last = 0

    def to_dict(self) -> dict[str, Any]:
        """The store as a dict, without its documents."""
        return default_to_dict(
            self,
            path=self.path,
            address=self.address,
            api_key=None if self.api_key is None else self.api_key.to_dict(),
            collection_name=self.collection_name,
            embedding_dim=self.embedding_dim,
            metric=self.metric,
            meta_types=self.meta_types,
            exact_embeddings=self.exact_embeddings,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LannerDocumentStore:
        """A store of a dict."""
        given = dict(data.get("init_parameters", {}))
        if isinstance(given.get("api_key"), dict):
            given["api_key"] = Secret.from_dict(given["api_key"])
        return default_from_dict(cls, {**data, "init_parameters": given})

    @property
    def collection(self) -> Collection:
        """The collection, opened or created."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return cancellable(self._opened)

    def _open(self) -> Collection:
        if self.path is not None:
            database = shared(self.path)
        else:
            key = None if self.api_key is None else self.api_key.resolve_value()
            database = connect(str(self.address), api_key=key)
        try:
            collection = database.collection(self.collection_name)
        except NotFound:
            collection = database.create_collection(
                self.collection_name,
                {
                    VECTOR: vector(self.embedding_dim, self.metric),  # type: ignore[arg-type]
                    _NO_EMBEDDING: vector(1, "dot", compression=None, index="flat", recent_queries=0),
                },
                {_WRITTEN: "integer", **{f"meta.{path}": of for path, of in self.meta_types.items()}},
                exist_ok=True,
            )
        try:
            self._check(collection)
        except InvalidInput:
            if self.path is None:
                database.close()
            raise
        self._database = database
        return collection

    def _check(self, collection: Collection) -> None:
        fields = vector_fields(collection.fields)
        if VECTOR not in fields or _NO_EMBEDDING not in fields:
            expected = f"a collection of this class, with the fields {VECTOR!r} and {_NO_EMBEDDING!r}"
            raise InvalidInput(f"collection_name: expected {expected}, got {', '.join(fields)}")
        found = fields[VECTOR]
        for name, ours, its in (
            ("embedding_dim", self.embedding_dim, found.dimension),
            ("metric", self.metric, found.metric),
        ):
            if ours != its:
                raise InvalidInput(f"{name}: expected {its!r} as of {collection.name}, got {ours!r}")

    # Reading

    def count_documents(self) -> int:
        """Number of documents."""
        return self.collection.count()

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Number of documents that match."""
        with _filter_errors():
            return self.collection.count(_condition(filters))

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """The documents that match, in the order in which they were written.

        Raises:
            FilterError: The filter is malformed, or asks what Lanner cannot.
        """
        return [self._document(point) for point in self._points(filters, with_vectors=True)]

    def _points(self, filters: Mapping[str, Any] | None, with_vectors: bool = False) -> Iterator[Point]:
        with _filter_errors():
            yield from self.collection.scroll(
                _condition(filters), order_by=_WRITTEN, with_vectors=with_vectors, page_size=500
            )

    # Writing

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Writes documents and returns how many.

        What exists is looked up before the write, which is not one step with it: of two that write the
        same new id with `FAIL` or `SKIP` at the same time, the later one wins.

        Args:
            policy: Of documents whose id exists: `FAIL`, which is also `NONE`, writes nothing then; `SKIP`
                leaves them out; `OVERWRITE` replaces them.

        Raises:
            DuplicateDocumentError: Under `FAIL`, there is a document of one of the ids.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise InvalidInput("documents: expected a list of documents of Haystack")
        overwrite = policy == DuplicatePolicy.OVERWRITE
        points: dict[str, Document] = {}
        if not overwrite:
            ids = list({point_id(one.id) for one in documents})
            existing = {point.id for point in self.collection.get(ids, with_payload=False)}
        for one in documents:
            name = point_id(one.id)
            if not overwrite and (name in existing or name in points):
                if policy == DuplicatePolicy.SKIP:
                    continue
                raise DuplicateDocumentError(f"document {one.id!r} exists already")
            points[name] = one
        if points:
            self._write(points)
        return len(documents) if overwrite else len(points)

    def _write(self, points: Mapping[str, Document]) -> None:
        first = self._next_order(len(points))
        embeddings = [one.embedding for one in points.values()]
        self.collection.upsert(
            ids=list(points),
            vectors={
                VECTOR: embeddings,
                _NO_EMBEDDING: [[1.0] if embedding is None else None for embedding in embeddings],
            },
            payloads=[self._payload(one, name, first + at) for at, (name, one) in enumerate(points.items())],
            progress=False,
        )

    def _next_order(self, count: int) -> int:
        """The first of `count` numbers that are greater than those of all that was written before."""
        with self._lock:
            first = max(time.time_ns(), self._last)
            self._last = first + count
            return first

    def _payload(self, document: Document, name: str, order: int) -> dict[str, Any]:
        payload: dict[str, Any] = {"content": document.content, "meta": document.meta, _WRITTEN: order}
        if name != document.id:
            payload["id"] = document.id
        if document.blob is not None:
            payload["blob"] = document.blob.to_dict()
        if document.sparse_embedding is not None:
            payload["sparse_embedding"] = document.sparse_embedding.to_dict()
        if document.score is not None:
            payload["score"] = document.score
        if document.embedding is not None and self.exact_embeddings:
            exact = np.asarray(document.embedding, "<f8")
            rounded = exact.astype("<f4")
            is_rounded = bool(np.any(exact != rounded))
            if is_rounded or self.metric == "cosine":
                kept = exact if is_rounded else rounded
                payload[_EXACT] = {kept.dtype.str[1:]: base64.b64encode(kept.tobytes()).decode()}
        return payload

    def _document(self, point: Point) -> Document:
        payload = point.payload or {}
        embedding = point.vectors[VECTOR].tolist() if VECTOR in point.vectors else None
        if embedding is not None and _EXACT in payload:
            ((kind, text),) = payload[_EXACT].items()
            embedding = np.frombuffer(base64.b64decode(text), f"<{kind}").tolist()
        members = {name: payload[name] for name in _KEPT if name in payload}
        return Document.from_dict({**members, "id": document_id(point), "embedding": embedding})

    def delete_documents(self, document_ids: list[str]) -> None:
        """Deletes documents; ids without one are skipped."""
        self.collection.delete([point_id(name) for name in document_ids])

    def delete_all_documents(self, recreate_collection: bool = False) -> None:
        """Deletes all documents, or with `recreate_collection` the collection itself, to make it anew."""
        collection = self.collection
        if not recreate_collection:
            collection.delete(filter=EVERYTHING)
            return
        with self._lock:
            self._database.drop(collection.name)
            self._opened = self._open()

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Deletes the documents that match, and returns how many."""
        with _filter_errors():
            return self.collection.delete(filter=_condition(filters) or EVERYTHING)

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Merges metadata into those of the documents that match, and returns how many.

        `None` removes a member, and dicts are merged member by member (JSON Merge Patch).
        """
        with _filter_errors():
            condition = _condition(filters) or EVERYTHING
            return self.collection.update_payloads(filter=condition, merge={"meta": meta}).affected

    # Metadata

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """Number of different values of metadata among the documents that match. Reads their payloads."""
        names = [name.removeprefix("meta.") for name in metadata_fields]
        values: dict[str, set[Any]] = {name: set() for name in names}
        for meta in self._metas(filters):
            for name in names:
                if meta.get(name) is not None:
                    values[name].add(_key(meta[name]))
        return {name: len(found) for name, found in values.items()}

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """The names of metadata and the types of their values. Reads all payloads."""
        types = {bool: "boolean", int: "int", float: "float"}
        return {
            name: {"type": types.get(type(value), "keyword")}
            for meta in self._metas(None)
            for name, value in meta.items()
            if value is not None
        }

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """The least and the greatest value, `None` if there are none that compare. Reads all payloads."""
        name = metadata_field.removeprefix("meta.")
        values = [meta[name] for meta in self._metas(None) if isinstance(meta.get(name), (int, float, str))]
        try:
            return {"min": min(values), "max": max(values)}
        except (TypeError, ValueError):
            return {"min": None, "max": None}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """A page of the different values, ordered as texts, and the number of all. Reads payloads.

        `search_term` is a part of the values, in whichever case.
        """
        name = metadata_field.removeprefix("meta.")
        values = {_key(meta[name]): meta[name] for meta in self._metas(filters) if meta.get(name) is not None}
        if search_term:
            term = search_term.lower()
            values = {key: value for key, value in values.items() if term in str(value).lower()}
        ordered = [values[key] for key in sorted(values, key=lambda key: (str(values[key]), key))]
        return ordered[from_ : from_ + size], len(ordered)

    def _metas(self, filters: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
        return ((point.payload or {}).get("meta", {}) for point in self._points(filters))

    # Retrieval

    def embedding_retrieval(
        self,
        query_embedding: Sequence[float],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool = False,
        **options: Any,
    ) -> list[Document]:
        """The documents that are most similar to an embedding, best first.

        Their scores are higher-is-better for every metric: the cosine, the dot product, or the negative
        squared distance; with `scale_score` they are from 0 to 1. Other keywords, such as
        `target_recall`, are those of `Collection.query`.
        """
        if top_k == 0:
            return []
        with _filter_errors():
            hits = self.collection.query(
                VECTOR,
                query_embedding,
                limit=top_k,
                filter=_condition(filters),
                with_vectors=return_embedding,
                **options,
            )
        scores = [relevance(self.metric, hit.score) if scale_score else hit.score for hit in hits]
        return [replace(self._document(hit), score=score) for hit, score in zip(hits, scores)]

    # Coroutines

    count_documents_async = in_thread(count_documents)
    count_documents_by_filter_async = in_thread(count_documents_by_filter)
    filter_documents_async = in_thread(filter_documents)
    write_documents_async = in_thread(write_documents)
    delete_documents_async = in_thread(delete_documents)
    delete_all_documents_async = in_thread(delete_all_documents)
    delete_by_filter_async = in_thread(delete_by_filter)
    update_by_filter_async = in_thread(update_by_filter)
    count_unique_metadata_by_filter_async = in_thread(count_unique_metadata_by_filter)
    get_metadata_fields_info_async = in_thread(get_metadata_fields_info)
    get_metadata_field_min_max_async = in_thread(get_metadata_field_min_max)
    get_metadata_field_unique_values_async = in_thread(get_metadata_field_unique_values)
    embedding_retrieval_async = in_thread(embedding_retrieval)


@component
class LannerEmbeddingRetriever:
    """Retrieves the documents of a `LannerDocumentStore` that are most similar to an embedding."""

    def __init__(
        self,
        document_store: LannerDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        """Makes a retriever.

        Args:
            document_store: The store.
            filters: Which documents may be retrieved.
            top_k: Number of documents.
            scale_score: Whether scores are from 0 to 1; else they are those of the metric, higher is
                better for each.
            return_embedding: Whether documents come with their embeddings.
            filter_policy: Whether filters of a run replace those given here, or are merged with them.
        """
        if not isinstance(document_store, LannerDocumentStore):
            got = type(document_store).__name__
            raise InvalidInput(f"document_store: expected a LannerDocumentStore, got {got}")
        if top_k <= 0:
            raise InvalidInput(f"top_k: expected at least 1, got {top_k}")
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.scale_score = scale_score
        self.return_embedding = return_embedding
        self.filter_policy = (
            filter_policy if isinstance(filter_policy, FilterPolicy) else FilterPolicy.from_str(filter_policy)
        )

    def to_dict(self) -> dict[str, Any]:
        """The component as a dict."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            scale_score=self.scale_score,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LannerEmbeddingRetriever:
        """A component of a dict."""
        given = dict(data["init_parameters"])
        if isinstance(given["document_store"], dict):
            given["document_store"] = LannerDocumentStore.from_dict(given["document_store"])
        return default_from_dict(cls, {**data, "init_parameters": given})

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieves documents, best first; what is given replaces what the component was made with."""
        found = self.document_store.embedding_retrieval(
            query_embedding, *self._settings(filters, top_k, scale_score, return_embedding)
        )
        return {"documents": found}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """As `run`."""
        found = await self.document_store.embedding_retrieval_async(
            query_embedding, *self._settings(filters, top_k, scale_score, return_embedding)
        )
        return {"documents": found}

    def _settings(
        self,
        filters: dict[str, Any] | None,
        top_k: int | None,
        scale_score: bool | None,
        return_embedding: bool | None,
    ) -> tuple[Any, int, bool, bool]:
        return (
            apply_filter_policy(self.filter_policy, self.filters, filters),
            self.top_k if top_k is None else top_k,
            self.scale_score if scale_score is None else scale_score,
            self.return_embedding if return_embedding is None else return_embedding,
        )


# Filters

_LOGIC = {"AND": "and", "OR": "or"}
_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_NEGATIONS = {"!=": "==", "not in": "in"}


@contextmanager
def _filter_errors() -> Iterator[None]:
    """What the engine refuses in a filter, as Haystack's exception."""
    try:
        yield
    except InvalidInput as error:
        if not str(error).startswith("filter"):
            raise
        raise FilterError(str(error)) from error


def _condition(filters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A filter of Haystack as Lanner's; `None` of none."""
    return _translated(filters) if filters else None


def _translated(part: Any) -> dict[str, Any]:
    if not isinstance(part, Mapping):
        raise FilterError(f"expected a dict, got {part!r}")
    if "field" in part:
        return _comparison(part["field"], *_members(part, "operator", "value"))
    operator, conditions = _members(part, "operator", "conditions")
    parts = [_translated(condition) for condition in conditions]
    if operator == "NOT":
        return {"not": {"and": parts}}
    if operator not in _LOGIC:
        raise FilterError(f"unknown operator {operator!r}: expected AND, OR or NOT")
    return {_LOGIC[operator]: parts}


def _members(part: Mapping[str, Any], *names: str) -> list[Any]:
    for name in names:
        if name not in part:
            raise FilterError(f"{name!r} is missing in {dict(part)}")
    return [part[name] for name in names]


def _comparison(field: str, operator: str, value: Any) -> dict[str, Any]:
    if operator in _NEGATIONS:
        return {"not": _comparison(field, _NEGATIONS[operator], value)}
    if operator in _BOUNDS:
        if value is None:
            return {"or": []}
        if isinstance(value, bool) or not isinstance(value, (int, float, str, date)):
            raise FilterError(f"{operator} of {field}: expected a number or a date, got {value!r}")
        return {"field": _path(field), _BOUNDS[operator]: _plain(value)}
    if operator == "in":
        if not isinstance(value, list):
            raise FilterError(f"in of {field}: expected a list, got {type(value).__name__}")
        return {"or": [_comparison(field, "==", one) for one in value if one is None] + _lists(field, value)}
    if operator == "==":
        if field == "id":
            return {"ids": [] if value is None else [point_id(value)]}
        if value is None:
            return {"field": _path(field), "exists": False}
        if isinstance(value, date):
            return {"field": _path(field), "gte": _plain(value), "lte": _plain(value)}
        return {"field": _path(field), "eq": value}
    raise FilterError(f"unknown operator {operator!r}: expected ==, !=, >, >=, <, <=, in or not in")


def _lists(field: str, values: list[Any]) -> list[dict[str, Any]]:
    """The values of a list by their types, which Lanner's lists have one of."""
    if field == "id":
        return [{"ids": [point_id(value) for value in values if value is not None]}]
    by_type: dict[type, list[Any]] = {}
    for value in values:
        if value is not None:
            by_type.setdefault(type(value), []).append(_plain(value))
    return [{"field": _path(field), "in": same} for same in by_type.values()]


def _path(field: str) -> str:
    """The payload path of a field; as Haystack's own filters do, other names than members are metadata."""
    if field.startswith("meta.") or field in ("content", "score"):
        return field
    if field.split(".")[0] in ("id", "blob", "embedding", "sparse_embedding"):
        raise FilterError(f"{field}: expected id with == or in, content, score or meta.…")
    return f"meta.{field}"


def _plain(value: Any) -> Any:
    # Of UTC if it has no time zone.
    return value.isoformat() if isinstance(value, date) else value


def _key(value: Any) -> tuple[str, str]:
    """What tells values apart: 1, 1.0, "1" and True are different."""
    return type(value).__name__, repr(value)
