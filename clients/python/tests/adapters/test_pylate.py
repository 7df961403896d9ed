"""`lanner.pylate` behind PyLate's own base class and retriever, against exact MaxSim.

Without the CPU wheel of torch PyLate is imported over a stand-in (torch_stub.py) and embeddings are numpy
arrays; with it the retriever also gets tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_stub
from adapters_support import package

import lanner

STAND_INS = torch_stub.install()
base = package("pylate.indexes.base")
retrieve = package("pylate.retrieve")
pylate = package("lanner.pylate")

DIMENSION = 16
IDS = [f"doc-{at}" for at in range(40)]


@pytest.fixture
def documents(random: np.random.Generator) -> list[np.ndarray]:
    return [random.standard_normal((int(random.integers(1, 9)), DIMENSION)).astype(np.float32) for _ in IDS]


@pytest.fixture
def queries(random: np.random.Generator) -> list[np.ndarray]:
    return [random.standard_normal((4, DIMENSION)).astype(np.float32) for _ in range(5)]


@pytest.fixture
def index(db: lanner.Database) -> Iterator[Any]:
    """An empty index in either kind of database."""
    yield pylate.Index(database=db, name="passages", exact=True)


def ranking(query: np.ndarray, documents: dict[str, np.ndarray]) -> list[tuple[str, float]]:
    """The oracle: documents by the sum of the best dot products, in double precision."""
    scores = {
        id: float((query.astype(np.float64) @ tokens.astype(np.float64).T).max(axis=1).sum())
        for id, tokens in documents.items()
    }
    return sorted(scores.items(), key=lambda item: -item[1])


def same(results: list[list[dict[str, Any]]], expected: list[list[tuple[str, float]]]) -> None:
    assert [[hit["id"] for hit in hits] for hits in results] == [[id for id, _ in hits] for hits in expected]
    for hits, wanted in zip(results, expected):
        assert [hit["score"] for hit in hits] == pytest.approx([score for _, score in wanted], abs=1e-4)


def test_it_is_an_index_of_pylate(index: Any) -> None:
    assert isinstance(index, base.Base) and index.is_end_to_end_index
    assert len(index) == 0 and index([np.ones((2, DIMENSION))], k=3) == [[]]


def test_the_retriever_ranks_by_max_sim(index: Any, documents: list[Any], queries: list[Any]) -> None:
    assert index.add_documents(IDS, documents, batch_size=7) is index
    exact = [ranking(query, dict(zip(IDS, documents)))[:6] for query in queries]
    retriever = retrieve.ColBERT(index=index)
    same(retriever.retrieve(queries_embeddings=queries, k=6), exact)
    same(retriever.retrieve(queries_embeddings=np.stack(queries), k=6), exact)
    same(retriever.retrieve(queries_embeddings=queries[0], k=6), exact[:1])
    same(index(queries, k=100), [ranking(query, dict(zip(IDS, documents))) for query in queries])


def test_subsets(index: Any, documents: list[Any], queries: list[Any]) -> None:
    index.add_documents(IDS, documents)
    known = dict(zip(IDS, documents))
    retriever = retrieve.ColBERT(index=index)
    few = IDS[3:9]
    of_all = [ranking(query, {id: known[id] for id in few})[:4] for query in queries]
    same(retriever.retrieve(queries_embeddings=queries, k=4, subset=few), of_all)
    each = [few, few, IDS[20:22], [], IDS[30:]]
    of_each = [ranking(query, {id: known[id] for id in ids})[:4] for query, ids in zip(queries, each)]
    same(retriever.retrieve(queries_embeddings=queries, k=4, subset=each), of_each)
    with pytest.raises(lanner.InvalidInput, match="subset: expected 5 lists, one a query, got 2"):
        index(queries, subset=each[:2])


def test_documents_are_removed_and_replaced(index: Any, documents: list[Any], queries: list[Any]) -> None:
    index.add_documents(IDS, documents)
    known = dict(zip(IDS, documents))
    best = ranking(queries[0], known)[0][0]
    assert index.remove_documents([best, "not there"]) is index
    del known[best]
    same(index(queries[:1], k=5), [ranking(queries[0], known)[:5]])
    known["doc-39"] = queries[0] * 3
    index.update_documents(["doc-39"], [known["doc-39"]])
    assert index(queries[:1], k=1)[0][0]["id"] == "doc-39"
    index.add_documents("alone", queries[1])
    known["alone"] = queries[1]
    same(index(queries, k=5), [ranking(query, known)[:5] for query in queries])
    assert len(index) == 40


def test_embeddings_come_back(index: Any, documents: list[Any]) -> None:
    index.add_documents(IDS, documents)
    found = index.get_documents_embeddings([["doc-4", "doc-2"], [], ["doc-4"]])
    assert [len(rows) for rows in found] == [2, 0, 1]
    np.testing.assert_array_equal(found[0][0], documents[4])
    np.testing.assert_array_equal(found[0][1], documents[2])
    np.testing.assert_array_equal(found[2][0], documents[4])
    with pytest.raises(lanner.InvalidInput, match="expected ids of documents in the index, got 'nowhere'"):
        index.get_documents_embeddings([["doc-1", "nowhere"]])


def test_a_folder_keeps_an_index(tmp_path: Path, documents: list[Any], queries: list[Any]) -> None:
    folder = str(tmp_path / "indexes")
    with pylate.Index(folder, "passages") as index:
        index.add_documents(IDS, documents)
        before = index(queries, k=3)
    with pylate.Index(folder, "passages") as index:
        assert index(queries, k=3) == before
    with pylate.Index(folder, "passages", recreate=True) as index:
        assert len(index) == 0


def test_what_is_refused(index: Any, documents: list[Any]) -> None:
    with pytest.raises(lanner.InvalidInput, match="documents_embeddings: expected 40, one a document, got 3"):
        index.add_documents(IDS, documents[:3])
    with pytest.raises(lanner.InvalidInput, match="k: expected 1 to 10000, got 0"):
        index(documents[:1], k=0)


@pytest.mark.skipif("torch" in STAND_INS, reason="torch is a stand-in: its CPU wheel is not installed")
def test_tensors(index: Any, documents: list[Any], queries: list[Any]) -> None:
    import torch

    index.add_documents(IDS, [torch.from_numpy(tokens) for tokens in documents])
    exact = [ranking(query, dict(zip(IDS, documents)))[:6] for query in queries]
    same(retrieve.ColBERT(index=index).retrieve(torch.from_numpy(np.stack(queries)), k=6), exact)
