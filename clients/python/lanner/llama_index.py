"""LlamaIndex: a vector store over a collection. `pip install lanner[llama-index]`

from lanner.llama_index import LannerVectorStore

store = LannerVectorStore("db", metadata_types={"year": int})
index = VectorStoreIndex.from_vector_store(store)
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from ._collection import Collection
from ._database import Database
from ._documents import EVERYTHING, VECTOR, Documents, document_id, in_thread, point_id
from ._errors import InvalidInput
from ._results import Point

__all__ = ["LannerVectorStore"]

_METADATA = "metadata"
_DOCUMENT = "ref_doc_id"


class LannerVectorStore(BasePydanticVectorStore):
    """Nodes of LlamaIndex in a collection, which is created with the first of them.

    A node is a point: `metadata` and `ref_doc_id` are members of its payload, all else but the embedding
    is `node`. Ids are any texts. Metadata are what JSON has; datetimes with a zone and dates come back as
    texts.

    Filters name metadata, nested ones with dots between keys. Of lists, `CONTAINS`, `ANY` and `ALL` look at
    the elements, and so do the others, of which one that passes is enough. `TEXT_MATCH` and
    `TEXT_MATCH_INSENSITIVE` are not supported. A node without a value passes `!=` and `nin`.
    """

    stores_text: bool = True
    collection_name: str = "llama_index"

    _documents: Documents = PrivateAttr()

    def __init__(
        self,
        database: Database | str | os.PathLike[str],
        collection_name: str = "llama_index",
        *,
        metric: str = "cosine",
        metadata_types: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes a store.

        Args:
            database: From `lanner.open` or `lanner.connect`, or a folder, which is opened once a process.
            collection_name: Name of the collection.
            metric: How a new collection compares vectors: `"cosine"`, `"dot"` or `"l2"`.
            metadata_types: Metadata that filters use often, and their types, as in `{"year": int}`; of a new
                collection. Filters may name others, too, and are slower then.
        """
        super().__init__(collection_name=collection_name)  # type: ignore[call-arg]
        types = {f"{_METADATA}.{path}": of for path, of in (metadata_types or {}).items()}
        self._documents = Documents(database, collection_name, metric, {_DOCUMENT: "keyword", **types})

    @classmethod
    def class_name(cls) -> str:
        """Its name in files."""
        return "LannerVectorStore"

    @property
    def client(self) -> Database:
        """The database."""
        return self._documents.database

    @property
    def collection(self) -> Collection | None:
        """The collection, `None` before the first node."""
        return self._documents.collection()

    # Writing

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Writes nodes with embeddings, replacing those of the same ids; returns their ids."""
        self._documents.write({node.node_id: (node.get_embedding(), _payload(node)) for node in nodes})
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document."""
        if (collection := self.collection) is not None:
            collection.delete(filter={"field": _DOCUMENT, "eq": point_id(ref_doc_id)})

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Deletes the nodes of these ids that match."""
        if node_ids is None and filters is None:
            raise InvalidInput("node_ids: expected ids, filters or both, got neither (clear deletes all)")
        if (collection := self.collection) is not None:
            collection.delete(filter=_all_of(_ids(node_ids), _filters(filters)) or EVERYTHING)

    def clear(self) -> None:
        """Deletes all nodes."""
        if (collection := self.collection) is not None:
            collection.delete(filter=EVERYTHING)

    # Reading

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes of these ids that match, without embeddings, in the order of ids; missing ones are left out.

        Without ids those of all, without filters each.
        """
        collection = self.collection
        if collection is None:
            return []
        if filters is None and node_ids is not None:
            found = collection.get([point_id(name) for name in dict.fromkeys(node_ids)]) if node_ids else []
            return [_node(point) for point in found]
        order = {name: at for at, name in enumerate(node_ids or [])}
        nodes = [_node(point) for point in collection.scroll(_all_of(_ids(node_ids), _filters(filters)))]
        return sorted(nodes, key=lambda node: order.get(node.node_id, 0))

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that are most similar to an embedding, best first.

        Similarities are higher-is-better for every metric: the cosine, the dot product, or the negative
        squared distance. The modes are `DEFAULT` and `MMR`, whose similarities are those of LlamaIndex's
        own; it chooses among `mmr_prefetch_factor` [4] times as many nodes. Other keywords, such as
        `target_recall`, are those of `Collection.query`.

        Raises:
            InvalidInput: Another mode, or a filter that Lanner does not have.
        """
        if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            raise InvalidInput(f"mode: expected default or mmr, got {query.mode}")
        if query.query_embedding is None:
            raise InvalidInput("query_embedding: expected an embedding, got None")
        # Indexes of LlamaIndex give an empty list of ids for any.
        documents = [point_id(name) for name in query.doc_ids or []]
        condition = _all_of(
            {"field": _DOCUMENT, "in": documents} if documents else None,
            _ids(query.node_ids or None),
            _filters(query.filters),
        )
        factor = kwargs.pop("mmr_prefetch_factor", 4.0)
        threshold = kwargs.pop("mmr_threshold", query.mmr_threshold)
        collection = self.collection
        if collection is None:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        top, embedding = query.similarity_top_k, query.query_embedding
        if query.mode == VectorStoreQueryMode.DEFAULT:
            hits = list(collection.query(VECTOR, embedding, limit=top, filter=condition, **kwargs))
            return _result(hits, [hit.score for hit in hits])
        hits = list(
            collection.query(
                VECTOR,
                embedding,
                limit=max(top, int(top * factor)),
                filter=condition,
                with_vectors=True,
                **kwargs,
            )
        )
        similarities, chosen = get_top_k_mmr_embeddings(
            embedding,
            [hit.vectors[VECTOR] for hit in hits],
            similarity_top_k=top,
            embedding_ids=list(range(len(hits))),
            mmr_threshold=threshold,
        )
        return _result([hits[at] for at in chosen], [float(score) for score in similarities])

    # Coroutines

    async_add = in_thread(add)
    adelete = in_thread(delete)
    adelete_nodes = in_thread(delete_nodes)
    aclear = in_thread(clear)
    aget_nodes = in_thread(get_nodes)
    aquery = in_thread(query)


def _payload(node: BaseNode) -> dict[str, Any]:
    members = node.model_dump(mode="json", exclude={"embedding", "metadata"})
    document = node.ref_doc_id
    return {
        "node": members,
        "type": node.class_name(),
        _METADATA: node.metadata,
        **({} if document is None else {_DOCUMENT: point_id(document)}),
    }


def _node(point: Point) -> BaseNode:
    payload = point.payload or {}
    members = {**payload["node"], "metadata": payload[_METADATA]}
    return metadata_dict_to_node({"_node_content": json.dumps(members), "_node_type": payload["type"]})


def _result(points: Sequence[Point], similarities: list[float]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[_node(point) for point in points],
        similarities=similarities,
        ids=[document_id(point) for point in points],
    )


# Filters

_TESTS = {
    FilterOperator.EQ: "eq",
    FilterOperator.NE: "ne",
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
    FilterOperator.IN: "in",
    FilterOperator.NIN: "nin",
    FilterOperator.ANY: "in",
    FilterOperator.CONTAINS: "eq",
}
_ON_LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)


def _all_of(*conditions: dict[str, Any] | None) -> dict[str, Any] | None:
    given = [condition for condition in conditions if condition is not None]
    return {"and": given} if given else None


def _ids(names: Sequence[str] | None) -> dict[str, Any] | None:
    return None if names is None else {"ids": [point_id(name) for name in names]}


def _filters(filters: MetadataFilters | None) -> dict[str, Any] | None:
    """Filters of LlamaIndex as Lanner's; `None` of none."""
    if filters is None or not filters.filters:
        return None
    parts = [
        _filters(part) or EVERYTHING if isinstance(part, MetadataFilters) else _filter(part)
        for part in filters.filters
    ]
    if filters.condition == FilterCondition.OR:
        return {"or": parts}
    if filters.condition == FilterCondition.NOT:
        return {"not": {"or": parts}}
    return {"and": parts}


def _filter(part: MetadataFilter) -> dict[str, Any]:
    path, value, operator = f"{_METADATA}.{part.key}", part.value, part.operator
    if operator in _ON_LISTS and not isinstance(value, list):
        raise InvalidInput(f"filters.{part.key}: expected a list for {operator.value}, got {value!r}")
    if operator == FilterOperator.IS_EMPTY or (value is None and operator == FilterOperator.EQ):
        return {"field": path, "exists": False}
    if value is None and operator == FilterOperator.NE:
        return {"field": path, "exists": True}
    if operator == FilterOperator.ALL and isinstance(value, list):
        return {"and": [{"field": path, "eq": one} for one in value]}
    if operator not in _TESTS:
        raise InvalidInput(
            f"filters.{part.key}: {operator.value} is not supported; compare values as a whole"
        )
    return {"field": path, _TESTS[operator]: value}
