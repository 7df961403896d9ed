"""LangChain's own suite, unchanged, over both kinds of database; and what it leaves out."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest
from framework_docs import run_example

import lanner

pytest.importorskip("langchain_core", reason="not installed: pip install langchain-core")
pytest.importorskip("langchain_tests", reason="not installed: pip install langchain-tests")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from lanner.langchain import LannerTranslator, LannerVectorStore

# The suite's coroutines carry no mark of their own.
pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("ignore:.*is not an async function")]


class TestStandard(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, db: lanner.Database) -> LannerVectorStore:
        return LannerVectorStore(self.get_embeddings(), db)


class Compass(Embeddings):
    """Embeds a text as the direction that it starts with, in degrees."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        turn = complex(0, 1) ** (float(text.split()[0]) / 90)
        return [turn.real, turn.imag]


BOOKS = [
    Document(
        "0 Emma", metadata={"year": 1815, "tags": ["novel", "love"], "author": {"name": "Austen"}}, id="emma"
    ),
    Document("10 Moby-Dick", metadata={"year": 1851, "tags": ["novel", "sea"]}, id="moby"),
    Document("20 Typee", metadata={"year": 1846, "lang": "en"}, id="typee"),
    Document("180 Walden", metadata={"year": 1854, "lang": "en", "read": True}, id="walden"),
]


@pytest.fixture
def store(db: lanner.Database) -> LannerVectorStore:
    store = LannerVectorStore(Compass(), db, "books", metadata_types={"year": int})
    store.add_documents(BOOKS)
    return store


def titles(found: list[Document]) -> list[str]:
    return [document.id or "" for document in found]


def test_scores_are_cosines_and_higher_is_better(store: LannerVectorStore) -> None:
    found = store.similarity_search_with_score("0", k=4)
    assert titles([document for document, _ in found]) == ["emma", "moby", "typee", "walden"]
    assert [score for _, score in found] == pytest.approx([1, 0.98481, 0.93969, -1], abs=1e-4)
    relevant = store.similarity_search_with_relevance_scores("0", k=4, score_threshold=0.9)
    assert [score for _, score in relevant] == pytest.approx([1, 0.99240, 0.96985], abs=1e-4)


@pytest.mark.parametrize(
    ("metric", "score", "relevance"), [("dot", 1.0, 0.7311), ("l2", 0.0, 1.0), ("cosine", 1.0, 1.0)]
)
def test_metrics(db: lanner.Database, metric: str, score: float, relevance: float) -> None:
    store = LannerVectorStore.from_documents(BOOKS, Compass(), database=db, metric=metric)
    assert store.similarity_search_with_score("0", k=1)[0][1] == pytest.approx(score, abs=1e-4)
    best = store.similarity_search_with_relevance_scores("0", k=4)
    assert best[0][1] == pytest.approx(relevance, abs=1e-4)
    assert all(0 <= score <= 1 for _, score in best)
    # The collection says how it compares, also to a store that was made without.
    assert LannerVectorStore(Compass(), db)._documents.metric == metric


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (lanner.field("year") >= 1850, ["moby", "walden"]),
        ((lanner.field("year") < 1850) & ~(lanner.field("lang") == "en"), ["emma"]),
        ({"lang": "en", "year": {"$gt": 1850}}, ["walden"]),
        ({"lang": "en", "year": {"gt": 1840, "lt": 1850}}, ["typee"]),
        ({"$or": [{"tags": "sea"}, {"author.name": "Austen"}]}, ["emma", "moby"]),
        ({"$not": {"tags": {"$in": ["sea", "love"]}}}, ["typee", "walden"]),
        ({"$and": [{"lang": {"$exists": True}}, {"year": {"$ne": 1846}}]}, ["walden"]),
        ({"read": True}, ["walden"]),
        (lanner.has_id("emma", "none"), ["emma"]),
        ({"field": "year", "eq": 1851}, ["moby"]),
    ],
)
def test_filters(store: LannerVectorStore, filter: object, expected: list[str]) -> None:
    assert titles(store.similarity_search("0", k=9, filter=filter)) == expected
    assert titles(asyncio.run(store.asimilarity_search("0", k=9, filter=filter))) == expected


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        (lambda document: True, "filter: expected a condition"),
        ({"year": {"$regex": "x"}}, "regex"),
        ({"year": {"$gt": "soon"}}, "metadata.year"),
    ],
)
def test_filters_that_cannot_be(store: LannerVectorStore, filter: object, message: str) -> None:
    with pytest.raises(lanner.InvalidInput, match=message):
        store.similarity_search("0", filter=filter)


def test_documents_come_back_whole(store: LannerVectorStore) -> None:
    assert store.get_by_ids(["walden", "none", "emma"]) == [BOOKS[3], BOOKS[0]]
    long, strange = "https://example.org/" + "a" * 600, "naïve\n\0id"
    assert store.add_texts(["1 a", "2 b"], ids=[long, strange]) == [long, strange]
    assert titles(store.get_by_ids([long, strange])) == [long, strange]
    assert titles(store.similarity_search("1", k=1)) == [long]
    store.delete([long])
    assert titles(store.get_by_ids([long, strange])) == [strange]


def test_of_an_id_twice_the_last_wins(store: LannerVectorStore) -> None:
    store.add_texts(["5 a", "6 b"], ids=["same", "same"])
    assert [document.page_content for document in store.get_by_ids(["same"])] == ["6 b"]


def test_deletes_by_filter_and_all(store: LannerVectorStore) -> None:
    store.delete(filter={"lang": "en"})
    assert titles(store.similarity_search("0", k=9)) == ["emma", "moby"]
    store.delete()
    assert store.similarity_search("0") == []


def test_refuses_what_does_not_fit(store: LannerVectorStore) -> None:
    with pytest.raises(lanner.InvalidInput, match="metadatas: expected 2"):
        store.add_texts(["1", "2"], [{}])
    with pytest.raises(lanner.InvalidInput, match=r"payloads\[0\].metadata.seen"):
        store.add_texts(["1"], [{"seen": {1, 2}}])
    assert store.add_texts([]) == []


def test_mmr_prefers_what_differs(store: LannerVectorStore) -> None:
    assert titles(store.max_marginal_relevance_search("0", k=2, lambda_mult=1.0)) == ["emma", "moby"]
    assert titles(store.max_marginal_relevance_search("0", k=2, lambda_mult=0.0)) == ["emma", "walden"]
    found = asyncio.run(store.amax_marginal_relevance_search("0", k=2, filter={"lang": "en"}))
    assert titles(found) == ["typee", "walden"]


def test_retriever_and_options_of_queries(store: LannerVectorStore) -> None:
    retriever = store.as_retriever(search_kwargs={"k": 2, "filter": {"lang": "en"}, "exact": True})
    assert titles(retriever.invoke("0")) == ["typee", "walden"]
    assert titles(asyncio.run(retriever.ainvoke("180"))) == ["walden", "typee"]


def test_structured_queries(store: LannerVectorStore) -> None:
    late = Comparison(Comparator.GTE, "year", 1850)
    sea = Comparison(Comparator.CONTAIN, "tags", "sea")
    asked = StructuredQuery("0", Operation(Operator.AND, [late, Operation(Operator.NOT, [sea])]))
    text, options = LannerTranslator().visit_structured_query(asked)
    assert titles(store.similarity_search(text, **options)) == ["walden"]
    with pytest.raises(ValueError, match="like"):
        LannerTranslator().visit_comparison(Comparison(Comparator.LIKE, "lang", "e%"))


def test_folder_is_shared_and_kept(tmp_path: Path) -> None:
    embedding = DeterministicFakeEmbedding(size=6)
    first = LannerVectorStore(embedding, tmp_path / "db")
    first.add_texts(["a"], [{"day": date(2024, 5, 1)}], ids=["1"])
    second = LannerVectorStore(embedding, str(tmp_path / "db"))
    assert second.get_by_ids(["1"])[0].metadata == {"day": "2024-05-01"}
    first._documents.database.close()
    with lanner.open(tmp_path / "db") as database:
        assert len(database["langchain"]) == 1


def test_example_of_the_manual(tmp_path: Path) -> None:
    assert "'moby-dick'" in run_example("LangChain", tmp_path)
