"""Haystack's own suites, unchanged, over both kinds of database; and what they leave out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from framework_docs import run_example

import lanner

pytest.importorskip("haystack", reason="not installed: pip install haystack-ai")
pytest.importorskip("pytest_asyncio", reason="not installed: pip install pytest-asyncio")

from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError
from haystack.testing import document_store as suite
from haystack.testing import document_store_async as async_suite
from haystack.utils import Secret

from lanner.haystack import LannerDocumentStore, LannerEmbeddingRetriever

KINDS = ["embedded", "remote"]
_number = itertools.count()


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, object]:
    """Where a store is, and a collection that no other test uses."""
    if request.param == "embedded":
        return {"path": str(tmp_path / "db")}
    server = request.getfixturevalue("server")
    return {"address": server.address, "collection_name": f"haystack-{next(_number)}"}


@pytest.fixture
def document_store(place: dict[str, object]) -> Iterator[LannerDocumentStore]:
    store = LannerDocumentStore(**place)
    yield store
    store.count_documents()
    store._database.close()


@pytest.fixture
def store(place: dict[str, object]) -> Iterator[LannerDocumentStore]:
    store = LannerDocumentStore(**place, embedding_dim=3, meta_types={"year": "integer"})
    store.count_documents()
    yield store
    store._database.close()


class TestStandard(
    suite.DocumentStoreBaseExtendedTests,
    suite.CountDocumentsByFilterTest,
    suite.CountUniqueMetadataByFilterTest,
    suite.GetMetadataFieldsInfoTest,
    suite.GetMetadataFieldMinMaxTest,
    suite.GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(self, document_store: LannerDocumentStore) -> LannerDocumentStore:
        return document_store

    def test_write_documents(self, document_store: LannerDocumentStore) -> None:
        # The suite leaves the default policy to the store, and this test to its authors.
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])


class TestStandardAsync(
    async_suite.CountDocumentsAsyncTest,
    async_suite.CountDocumentsByFilterAsyncTest,
    async_suite.CountUniqueMetadataByFilterAsyncTest,
    async_suite.DeleteAllAsyncTest,
    async_suite.DeleteByFilterAsyncTest,
    async_suite.DeleteDocumentsAsyncTest,
    async_suite.FilterDocumentsAsyncTest,
    async_suite.GetMetadataFieldMinMaxAsyncTest,
    async_suite.GetMetadataFieldUniqueValuesAsyncTest,
    async_suite.GetMetadataFieldsInfoAsyncTest,
    async_suite.UpdateByFilterAsyncTest,
    async_suite.WriteDocumentsAsyncTest,
):
    @pytest.fixture
    def document_store(self, document_store: LannerDocumentStore) -> LannerDocumentStore:
        return document_store

    @pytest.mark.asyncio
    async def test_write_documents_async(self, document_store: LannerDocumentStore) -> None:
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])


BOOKS = [
    Document(id="walden", content="Walden", meta={"year": 1854, "read": True}, embedding=[-1.0, 0.0, 0.0]),
    Document(id="emma", content="Emma", meta={"year": 1815, "tags": ["love"]}, embedding=[1.0, 0.0, 0.0]),
    Document(
        id="moby",
        content="Moby-Dick",
        meta={"year": 1851, "author": {"name": "M"}},
        embedding=[0.6, 0.8, 0.0],
    ),
    Document(id="typee", content="Typee", meta={"added": "2024-05-01T12:00:00Z"}),
]


def ids(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"field": "id", "operator": "==", "value": "emma"}, ["emma"]),
        ({"field": "id", "operator": "not in", "value": ["emma", "moby"]}, ["walden", "typee"]),
        ({"field": "content", "operator": "!=", "value": "Emma"}, ["walden", "moby", "typee"]),
        ({"field": "meta.author.name", "operator": "==", "value": "M"}, ["moby"]),
        ({"field": "meta.tags", "operator": "in", "value": ["love", "sea"]}, ["emma"]),
        ({"field": "year", "operator": ">", "value": 1851}, ["walden"]),
        ({"field": "meta.year", "operator": "in", "value": [1815, None]}, ["emma", "typee"]),
        ({"field": "meta.year", "operator": "not in", "value": [1815, None]}, ["walden", "moby"]),
        ({"field": "meta.read", "operator": "in", "value": [True, "yes", 1]}, ["walden"]),
        ({"field": "meta.year", "operator": "in", "value": []}, []),
        ({"field": "meta.added", "operator": "<=", "value": datetime(2024, 5, 1, 12)}, ["typee"]),
        (
            {
                "field": "meta.added",
                "operator": "==",
                "value": datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))),
            },
            ["typee"],
        ),
        (
            {
                "operator": "NOT",
                "conditions": [
                    {
                        "operator": "OR",
                        "conditions": [{"field": "meta.read", "operator": "==", "value": True}],
                    }
                ],
            },
            ["emma", "moby", "typee"],
        ),
    ],
)
def test_filters(store: LannerDocumentStore, filters: dict[str, object], expected: list[str]) -> None:
    store.write_documents(BOOKS)
    assert ids(store.filter_documents(filters)) == expected


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "meta.year", "operator": "like", "value": 1},
        {"operator": "XOR", "conditions": []},
        {"field": "meta.year", "operator": "==", "value": {"a": 1}},
        {"field": "meta.year", "operator": "==", "value": "old"},
        {"field": "embedding", "operator": "==", "value": 1.0},
        {"field": "meta.year", "operator": ">", "value": True},
        {"operator": "AND", "conditions": ["year"]},
    ],
)
def test_filters_that_cannot_be(store: LannerDocumentStore, filters: dict[str, object]) -> None:
    with pytest.raises(FilterError):
        store.filter_documents(filters)
    with pytest.raises(FilterError):
        store.embedding_retrieval([1.0, 0.0, 0.0], filters)


def test_documents_come_back_whole(store: LannerDocumentStore) -> None:
    documents = [
        Document(
            id="i" * 600,
            content="",
            blob=ByteStream(b"\0\xff", meta={"a": 1}, mime_type="image/png"),
            meta={"nested": {"list": [1, 2.5, None, "x"]}, "id": 7, "none": None},
            score=0.25,
            embedding=[0.1, 1 / 3, 2.0],
            sparse_embedding=SparseEmbedding([1, 5], [0.5, 0.25]),
        ),
        Document(id="naïve\n id", content=None, embedding=np.float32([0.1, 0.2, 0.3]).tolist()),
    ]
    store.write_documents(documents)
    assert store.filter_documents() == documents
    store.delete_documents(["i" * 600])
    assert ids(store.filter_documents()) == ["naïve\n id"]


@pytest.mark.parametrize(
    ("metric", "exact", "embedding", "kept", "read"),
    [
        # What the collection itself keeps is not kept twice.
        ("dot", True, [0.5, 0.25, 2.0], None, [0.5, 0.25, 2.0]),
        ("l2", True, [0.1, 0.25, 2.0], "f8", [0.1, 0.25, 2.0]),
        ("cosine", True, [3.0, 4.0, 0.0], "f4", [3.0, 4.0, 0.0]),
        ("cosine", False, [3.0, 4.0, 0.0], None, np.float32([0.6, 0.8, 0.0]).tolist()),
        ("dot", False, [0.1, 0.2, 0.3], None, np.float32([0.1, 0.2, 0.3]).tolist()),
    ],
)
def test_embeddings_are_exact(
    place: dict[str, object],
    metric: str,
    exact: bool,
    embedding: list[float],
    kept: str | None,
    read: list[float],
) -> None:
    store = LannerDocumentStore(**place, embedding_dim=3, metric=metric, exact_embeddings=exact)
    store.write_documents([Document(id="a", embedding=embedding)])
    assert store.filter_documents()[0].embedding == read
    assert list(store.collection.get("a").payload.get("embedding", {})) == ([kept] if kept else [])


def test_stores_of_one_collection(store: LannerDocumentStore, place: dict[str, object]) -> None:
    store.write_documents(BOOKS)
    assert LannerDocumentStore(**place, embedding_dim=3).count_documents() == 4
    with pytest.raises(lanner.InvalidInput, match="embedding_dim: expected 3"):
        LannerDocumentStore(**place).count_documents()
    with pytest.raises(lanner.InvalidInput, match="metric: expected 'cosine'"):
        LannerDocumentStore(**place, embedding_dim=3, metric="dot").count_documents()
    other = {**place, "collection_name": f"other-{next(_number)}"}
    store._database.create_collection(other["collection_name"], {"text": lanner.vector(3)})
    with pytest.raises(lanner.InvalidInput, match="collection_name: expected"):
        LannerDocumentStore(**other, embedding_dim=3).count_documents()


def test_policies_of_a_batch(store: LannerDocumentStore) -> None:
    twice = [Document(id="a", content="first"), Document(id="a", content="second")]
    with pytest.raises(DuplicateDocumentError):
        store.write_documents(twice, DuplicatePolicy.FAIL)
    assert store.count_documents() == 0
    assert store.write_documents(twice, DuplicatePolicy.SKIP) == 1
    assert store.filter_documents()[0].content == "first"
    assert store.write_documents(twice, DuplicatePolicy.OVERWRITE) == 2
    assert store.filter_documents()[0].content == "second"
    assert store.write_documents([]) == 0


def test_bad_documents(store: LannerDocumentStore) -> None:
    with pytest.raises(lanner.InvalidInput, match="expected 3 dimensions, got 2"):
        store.write_documents([Document(embedding=[1.0, 2.0])])
    with pytest.raises(lanner.InvalidInput, match=r"payloads\[0\].meta.seen"):
        store.write_documents([Document(content="x", meta={"seen": {1}})])
    with pytest.raises(lanner.InvalidInput, match="path: expected"):
        LannerDocumentStore()
    assert store.count_documents() == 0


def test_retriever(store: LannerDocumentStore) -> None:
    store.write_documents(BOOKS)
    retriever = LannerEmbeddingRetriever(store, top_k=2)
    found = retriever.run([1.0, 0.0, 0.0])["documents"]
    assert ids(found) == ["emma", "moby"]
    assert [document.score for document in found] == pytest.approx([1, 0.6])
    assert found[0].embedding is None and found[0].meta == BOOKS[1].meta
    # Documents without an embedding are in no answer.
    found = asyncio.run(
        retriever.run_async([1.0, 0.0, 0.0], top_k=9, scale_score=True, return_embedding=True)
    )
    assert [document.score for document in found["documents"]] == pytest.approx([1, 0.8, 0])
    assert found["documents"][1].embedding == BOOKS[2].embedding
    assert retriever.run([1.0, 0.0, 0.0], top_k=0) == {"documents": []}
    with pytest.raises(lanner.InvalidInput, match="top_k"):
        LannerEmbeddingRetriever(store, top_k=0)


def test_retriever_merges_filters(store: LannerDocumentStore) -> None:
    store.write_documents(BOOKS)
    old = {"field": "meta.year", "operator": "<", "value": 1852}
    new = {"field": "content", "operator": "!=", "value": "Emma"}
    retriever = LannerEmbeddingRetriever(store, filters=old, filter_policy=FilterPolicy.MERGE)
    assert ids(retriever.run([1.0, 0.0, 0.0])["documents"]) == ["emma", "moby"]
    assert ids(retriever.run([1.0, 0.0, 0.0], filters=new)["documents"]) == ["moby"]


def test_pipeline_from_its_text(store: LannerDocumentStore) -> None:
    store.write_documents(BOOKS)
    pipeline = Pipeline()
    pipeline.add_component("retriever", LannerEmbeddingRetriever(store, top_k=1, filter_policy="merge"))
    # The copy opens the same folder, which is shared. Haystack wants to be told whose classes to make.
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["lanner.haystack"])
    assert again.to_dict() == pipeline.to_dict()
    answer = again.run({"retriever": {"query_embedding": [-1.0, 0.0, 0.0]}})
    assert ids(answer["retriever"]["documents"]) == ["walden"]


def test_moments_of_a_declared_path(place: dict[str, object]) -> None:
    store = LannerDocumentStore(**place, embedding_dim=3, meta_types={"added": "datetime"})
    store.write_documents(BOOKS)
    same = {"field": "meta.added", "operator": "==", "value": "2024-05-01T14:00:00+02:00"}
    assert ids(store.filter_documents(same)) == ["typee"]


def test_keys_are_not_written_out() -> None:
    store = LannerDocumentStore(address="localhost:7700", api_key=Secret.from_env_var("LANNER_KEY"))
    again = LannerDocumentStore.from_dict(store.to_dict())
    assert again.to_dict() == store.to_dict()
    assert again.api_key == Secret.from_env_var("LANNER_KEY")


def test_example_of_the_manual(tmp_path: Path) -> None:
    assert "id=emma" in run_example("Haystack", tmp_path)
