"""The vector store of LlamaIndex over both kinds of database, alone and in an index of the real package."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest
from framework_docs import run_example

import lanner

pytest.importorskip("llama_index.core", reason="not installed: pip install llama-index-core")

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from lanner.llama_index import LannerVectorStore


def text_node(name: str, embedding: list[float], document: str, **metadata: object) -> TextNode:
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(
        id_=name, text=f"text of {name}", embedding=embedding, metadata=metadata, relationships=source
    )


NODES = [
    text_node("a", [1.0, 0.0], "one", year=1815, tags=["love", "novel"], price=2.5),
    text_node("b", [0.8, 0.6], "one", year=1851, tags=["sea", "novel"], lang="en"),
    text_node("c", [0.6, 0.8], "two", year=1854, lang="en", author={"name": "Thoreau"}),
    text_node("d", [-1.0, 0.0], "two", lang="de", tags=[]),
]


@pytest.fixture
def store(db: lanner.Database) -> LannerVectorStore:
    store = LannerVectorStore(db, metadata_types={"year": int})
    assert store.add(NODES) == ["a", "b", "c", "d"]
    return store


def only(key: str, operator: str, value: object) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, operator=FilterOperator(operator), value=value)])


def query(store: LannerVectorStore, **settings: object) -> list[str]:
    asked = VectorStoreQuery(**{"query_embedding": [1.0, 0.0], "similarity_top_k": 9, **settings})
    found = store.query(asked)
    assert [node.node_id for node in found.nodes or []] == found.ids
    assert found == asyncio.run(store.aquery(asked))
    return found.ids or []


def test_similarities_are_cosines_and_higher_is_better(store: LannerVectorStore) -> None:
    found = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=3), exact=True)
    assert found.ids == ["a", "b", "c"]
    assert found.similarities == pytest.approx([1, 0.8, 0.6], abs=1e-4)


@pytest.mark.parametrize(
    ("key", "operator", "value", "expected"),
    [
        ("year", "==", 1851, "b"),
        ("year", "!=", 1851, "acd"),
        ("year", ">", 1851, "c"),
        ("year", ">=", 1851, "bc"),
        ("year", "<", 1851, "a"),
        ("year", "<=", 1851, "ab"),
        ("price", "<", 2.75, "a"),
        ("year", "in", [1815, 1854], "ac"),
        ("year", "nin", [1815, 1854], "bd"),
        ("tags", "any", ["love", "sea"], "ab"),
        ("tags", "all", ["novel", "sea"], "b"),
        ("tags", "contains", "novel", "ab"),
        ("tags", "is_empty", None, "cd"),
        ("lang", "==", None, "a"),
        ("lang", "!=", None, "bcd"),
        ("author.name", "==", "Thoreau", "c"),
    ],
)
def test_operators(store: LannerVectorStore, key: str, operator: str, value: object, expected: str) -> None:
    filters = only(key, operator, value)
    assert query(store, filters=filters) == list(expected)
    assert [node.node_id for node in store.get_nodes(filters=filters)] == list(expected)


def test_all_operators_are_known(store: LannerVectorStore) -> None:
    for operator in FilterOperator:
        value = ["x"] if operator.value in ("in", "nin", "any", "all") else "x"
        if operator in (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE):
            with pytest.raises(lanner.InvalidInput, match=f"filters.lang: {operator.value}"):
                query(store, filters=only("lang", operator.value, value))
        elif operator.value in (">", ">=", "<", "<="):
            with pytest.raises(lanner.InvalidInput, match="metadata.lang"):
                query(store, filters=only("lang", operator.value, value))
        else:
            query(store, filters=only("lang", operator.value, value))
    with pytest.raises(lanner.InvalidInput, match="expected a list"):
        query(store, filters=only("lang", "in", "x"))


def test_conditions(store: LannerVectorStore) -> None:
    late, english = only("year", ">", 1850).filters[0], only("lang", "==", "en").filters[0]
    old = only("year", "<", 1852).filters[0]
    for condition, expected in (("and", ["b"]), ("or", ["a", "b", "c"]), ("not", ["d"])):
        filters = MetadataFilters(filters=[late if condition != "not" else english, old], condition=condition)
        assert query(store, filters=filters) == expected
    nested = MetadataFilters(
        filters=[MetadataFilters(filters=[late, old], condition=FilterCondition.OR), english],
        condition=FilterCondition.AND,
    )
    assert query(store, filters=nested) == ["b", "c"]
    assert query(store, filters=MetadataFilters(filters=[])) == ["a", "b", "c", "d"]


def test_ids_of_documents_and_nodes(store: LannerVectorStore) -> None:
    assert query(store, doc_ids=["two", "none"]) == ["c", "d"]
    assert query(store, node_ids=["d", "a"]) == ["a", "d"]
    assert query(store, doc_ids=["two"], node_ids=["a", "c"], filters=only("lang", "==", "en")) == ["c"]
    # Indexes give empty lists for any.
    assert query(store, node_ids=[], doc_ids=[]) == ["a", "b", "c", "d"]


def test_mmr_prefers_what_differs(store: LannerVectorStore) -> None:
    mmr = {"mode": VectorStoreQueryMode.MMR, "similarity_top_k": 2}
    assert query(store, **mmr, mmr_threshold=1.0) == ["a", "b"]
    assert query(store, **mmr, mmr_threshold=0.1) == ["a", "d"]
    assert query(store, **mmr, filters=only("lang", "==", "en")) == ["b", "c"]
    assert query(store, **mmr, node_ids=["none"]) == []


def test_queries_that_cannot_be(store: LannerVectorStore) -> None:
    with pytest.raises(lanner.InvalidInput, match="mode"):
        query(store, mode=VectorStoreQueryMode.HYBRID)
    with pytest.raises(lanner.InvalidInput, match="query_embedding"):
        query(store, query_embedding=None)
    with pytest.raises(lanner.InvalidInput, match="dimension"):
        query(store, query_embedding=[1.0])


def test_nodes_come_back_whole(db: lanner.Database) -> None:
    nodes = [
        TextNode(
            id_="n" * 600,
            text="naïve\n",
            metadata={"deep": {"list": [1, None]}, "doc_id": "mine"},
            embedding=[1.0, 2.0],
            excluded_llm_metadata_keys=["deep"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="s" * 2000, metadata={"p": 1})},
        ),
        IndexNode(id_="index", text="x", index_id="other", embedding=[1.0, 0.0]),
        ImageNode(id_="image", image="aGk=", text="", embedding=[0.5, 0.0]),
        Node(id_="node", text_resource=MediaResource(text="resource"), embedding=[0.0, 1.0]),
    ]
    store = LannerVectorStore(db)
    names = store.add(nodes)
    expected = [node.model_copy(update={"embedding": None}) for node in nodes]
    assert store.get_nodes(names) == expected
    assert [type(node) for node in store.get_nodes(names)] == [TextNode, IndexNode, ImageNode, Node]
    assert query(store, node_ids=["n" * 600]) == ["n" * 600]
    store.delete("s" * 2000)
    assert [node.node_id for node in store.get_nodes(names)] == ["index", "image", "node"]


def test_deletes(store: LannerVectorStore) -> None:
    store.delete("none")
    store.delete_nodes(["a", "none"])
    assert [node.node_id for node in store.get_nodes()] == ["b", "c", "d"]
    store.delete_nodes(["b", "d"], only("lang", "==", "de"))
    assert [node.node_id for node in store.get_nodes()] == ["b", "c"]
    store.delete_nodes(filters=only("year", "==", 1851))
    assert [node.node_id for node in store.get_nodes(["c", "b"])] == ["c"]
    with pytest.raises(lanner.InvalidInput, match="clear"):
        store.delete_nodes()
    store.clear()
    assert store.get_nodes() == []


def test_before_the_first_node(db: lanner.Database) -> None:
    store = LannerVectorStore(db)
    store.delete("one")
    store.delete_nodes(["a"])
    store.clear()
    assert store.add([]) == [] and store.get_nodes() == [] and query(store) == []
    assert store.collection is None


def test_coroutines(db: lanner.Database) -> None:
    async def work() -> None:
        store = LannerVectorStore(db)
        assert await store.async_add(NODES) == ["a", "b", "c", "d"]
        await store.adelete("two")
        await store.adelete_nodes(["a"])
        assert [node.node_id for node in await store.aget_nodes()] == ["b"]
        await store.aclear()
        assert await store.aget_nodes() == []

    asyncio.run(work())


def test_signatures_are_those_of_the_base() -> None:
    for name in ("add", "async_add", "delete", "adelete", "delete_nodes", "get_nodes", "aget_nodes", "query"):
        ours = inspect.signature(getattr(LannerVectorStore, name)).parameters
        base = inspect.signature(getattr(BasePydanticVectorStore, name)).parameters
        assert list(ours) == list(base), name


class Compass(BaseEmbedding):
    """Embeds a text as the direction that it starts with, in degrees."""

    def _get_text_embedding(self, text: str) -> list[float]:
        turn = complex(0, 1) ** (float(text.split()[-1]) / 90)
        return [turn.real, turn.imag]

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def test_index_of_documents(db: lanner.Database) -> None:
    documents = [
        Document(
            id_=f"d{turn}",
            text=f"turn to {turn}",
            metadata={"turn": turn},
            excluded_embed_metadata_keys=["turn"],
        )
        for turn in (0, 45, 90)
    ]
    storage = StorageContext.from_defaults(vector_store=LannerVectorStore(db))
    index = VectorStoreIndex.from_documents(documents, storage, embed_model=Compass())
    index.delete_ref_doc("d45")
    index.insert(Document(text="turn to 30", metadata={"turn": 30}, excluded_embed_metadata_keys=["turn"]))
    again = VectorStoreIndex.from_vector_store(LannerVectorStore(db), embed_model=Compass())
    retriever = again.as_retriever(similarity_top_k=9, filters=only("turn", "<", 80))
    for found in (retriever.retrieve("to 10"), asyncio.run(retriever.aretrieve("to 10"))):
        assert [(node.text, node.metadata) for node in found] == [
            ("turn to 0", {"turn": 0}),
            ("turn to 30", {"turn": 30}),
        ]
        assert [node.score for node in found] == pytest.approx([0.98481, 0.93969], abs=1e-4)


def test_example_of_the_manual(tmp_path: Path) -> None:
    assert "NodeWithScore" in run_example("LlamaIndex", tmp_path)
