"""LangChain: a `VectorStore` over a collection. `pip install lanner[langchain]`

from lanner.langchain import LannerVectorStore

store = LannerVectorStore(embedding, "db", metadata_types={"year": int})
store.add_documents(documents)
store.similarity_search("whales", k=5, filter=lanner.field("year") >= 1850)
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.structured_query import Comparator, Comparison, Operation, StructuredQuery, Visitor
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from ._collection import Collection
from ._database import Database
from ._documents import EVERYTHING, VECTOR, Documents, below, document_id, in_thread, point_id, relevance
from ._errors import InvalidInput
from ._filters import Filter
from ._results import Hits, Point

__all__ = ["LannerTranslator", "LannerVectorStore"]

_METADATA = "metadata"


class LannerVectorStore(VectorStore):
    """Documents of LangChain in a collection, which is created with the first of them.

    A document is a point: its text is `text` of the payload, its metadata are `metadata`. Ids are any
    texts. Metadata are what JSON has; datetimes with a zone and dates come back as texts.

    Filters (`filter=` of all searches) name metadata: `lanner.field("year") >= 2000`, or a dict as in
    `{"lang": "en", "year": {"gte": 2000}}` (docs/filters.md), whose operators may begin with `$`. Other
    keywords of searches, such as `target_recall`, are those of `Collection.query`.
    """

    def __init__(
        self,
        embedding: Embeddings,
        database: Database | str | os.PathLike[str],
        collection_name: str = "langchain",
        *,
        metric: str = "cosine",
        metadata_types: Mapping[str, Any] | None = None,
        relevance_score_fn: Callable[[float], float] | None = None,
    ) -> None:
        """Makes a store.

        Args:
            embedding: Embeds documents and queries.
            database: From `lanner.open` or `lanner.connect`, or a folder, which is opened once a process.
            collection_name: Name of the collection.
            metric: How a new collection compares vectors: `"cosine"`, `"dot"` or `"l2"`.
            metadata_types: Metadata that filters use often, and their types, as in `{"year": int}`; of a new
                collection. Filters may name others, too, and are slower then.
            relevance_score_fn: A score as a number from 0 to 1, if not by the metric.
        """
        types = {f"{_METADATA}.{path}": of for path, of in (metadata_types or {}).items()}
        self._embedding = embedding
        self._documents = Documents(database, collection_name, metric, types)
        self._relevance = relevance_score_fn

    @property
    def embeddings(self) -> Embeddings:
        """What embeds documents and queries."""
        return self._embedding

    @property
    def collection(self) -> Collection | None:
        """The collection, `None` before the first document."""
        return self._documents.collection()

    # Writing

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embeds texts and writes them, replacing documents of the same ids; returns their ids."""
        texts = list(texts)
        return self._write(texts, self._embedding.embed_documents(texts) if texts else [], metadatas, ids)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """As `add_texts`."""
        texts = list(texts)
        vectors = await self._embedding.aembed_documents(texts) if texts else []
        return await in_thread(LannerVectorStore._write)(self, texts, vectors, metadatas, ids)

    def _write(
        self,
        texts: list[str],
        vectors: Sequence[Any],
        metadatas: list[dict[str, Any]] | None,
        ids: Sequence[str | None] | None,
    ) -> list[str]:
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given and len(given) != len(texts):
                raise InvalidInput(f"{name}: expected {len(texts)}, one a text, got {len(given)}")
        names = [name or str(uuid.uuid4()) for name in (ids or [None] * len(texts))]
        payloads = [
            {"text": text, _METADATA: metadata or {}}
            for text, metadata in zip(texts, metadatas or [{}] * len(texts))
        ]
        # Of an id that comes twice the last wins.
        self._documents.write(dict(zip(names, zip(vectors, payloads))))
        return names

    def delete(
        self, ids: Sequence[str] | None = None, *, filter: Filter | None = None, **kwargs: Any
    ) -> bool:
        """Deletes documents: of ids, those that match a filter, or with neither all. Missing ids are skipped."""
        collection = self.collection
        if collection is None:
            return True
        if ids is None:
            collection.delete(filter=EVERYTHING if filter is None else below(_METADATA, filter))
        elif filter is not None:
            raise InvalidInput("ids: expected ids or a filter, got both")
        else:
            collection.delete([point_id(name) for name in ids])
        return True

    adelete = in_thread(delete)

    # Searches

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of ids, in their order; missing ones are left out."""
        collection = self.collection
        if collection is None or not ids:
            return []
        return [_document(point) for point in collection.get([point_id(name) for name in ids])]

    aget_by_ids = in_thread(get_by_ids)

    def similarity_search_with_score_by_vector(
        self, embedding: Sequence[float], k: int = 4, *, filter: Filter | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """The documents that are most similar to a vector, and their scores, best first.

        Scores are higher-is-better for every metric: the cosine, the dot product, or the negative
        squared distance.
        """
        return [(_document(hit), hit.score) for hit in self._hits(embedding, k, filter, options)]

    def _hits(
        self, embedding: Sequence[float], k: int, filter: Filter | None, options: Mapping[str, Any]
    ) -> Hits | list[Any]:
        collection = self.collection
        if collection is None:
            return []
        condition = None if filter is None else below(_METADATA, filter)
        return collection.query(VECTOR, embedding, limit=k, filter=condition, **options)

    asimilarity_search_with_score_by_vector = in_thread(similarity_search_with_score_by_vector)

    def similarity_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """The documents that are most similar to a vector, best first."""
        return [found for found, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    asimilarity_search_by_vector = in_thread(similarity_search_by_vector)

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The documents that are most similar to a text, and their scores: higher is better."""
        return self.similarity_search_with_score_by_vector(self._embedding.embed_query(query), k, **kwargs)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_with_score`."""
        vector = await self._embedding.aembed_query(query)
        return await self.asimilarity_search_with_score_by_vector(vector, k, **kwargs)

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The documents that are most similar to a text, best first."""
        return [found for found, _ in self.similarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """As `similarity_search`."""
        return [found for found, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self._relevance is not None:
            return self._relevance
        metric = self._documents.metric
        return lambda score: relevance(metric, score)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        **options: Any,
    ) -> list[Document]:
        """Of the `fetch_k` most similar documents `k` that are also unlike each other.

        `lambda_mult` is from 0, which wants them most unlike each other, to 1, which wants them most similar.
        """
        hits = list(self._hits(embedding, max(k, fetch_k), filter, {**options, "with_vectors": True}))
        query = np.asarray(embedding, np.float32)
        chosen = maximal_marginal_relevance(query, [hit.vectors[VECTOR] for hit in hits], lambda_mult, k)
        return [_document(hits[at]) for at in chosen]

    amax_marginal_relevance_search_by_vector = in_thread(max_marginal_relevance_search_by_vector)

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """As `max_marginal_relevance_search_by_vector`, of a text."""
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **kwargs)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """As `max_marginal_relevance_search`."""
        vector = await self._embedding.aembed_query(query)
        return await self.amax_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **kwargs)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> LannerVectorStore:
        """A store with these texts; the other keywords are those of the class, `database` among them."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store


class LannerTranslator(Visitor):
    """Structured queries of LangChain as filters, for its `SelfQueryRetriever`."""

    allowed_comparators = tuple(word for word in Comparator if word != Comparator.LIKE)

    def visit_operation(self, operation: Operation) -> dict[str, Any]:
        """The filter of an operation."""
        self._validate_func(operation.operator)
        parts = [part.accept(self) for part in operation.arguments]
        if operation.operator.value == "not":
            return {"not": {"and": parts}}
        return {operation.operator.value: parts}

    def visit_comparison(self, comparison: Comparison) -> dict[str, Any]:
        """The filter of a comparison; `contain` means that a list has the value."""
        self._validate_func(comparison.comparator)
        test = "eq" if comparison.comparator == Comparator.CONTAIN else comparison.comparator.value
        value = comparison.value
        if isinstance(value, Mapping) and "date" in value:
            value = value["date"]
        return {"field": comparison.attribute, test: value}

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """The text to embed, and the keywords of the search."""
        found = structured_query.filter
        return structured_query.query, {} if found is None else {"filter": found.accept(self)}


def _document(point: Point) -> Document:
    payload = point.payload or {}
    return Document(
        id=document_id(point), page_content=payload.get("text", ""), metadata=payload.get(_METADATA, {})
    )
