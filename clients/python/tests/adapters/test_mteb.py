"""`lanner.mteb` in MTEB's own wrapper and protocols, against exact scores.

Without the CPU wheel of torch MTEB is imported over a stand-in (torch_stub.py): its wrapper, task metadata
and data sets are real, and batches come from the stand-in's `DataLoader`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from adapters_support import package

import lanner

datasets = package("datasets")

import torch_stub  # noqa: E402

STAND_INS = torch_stub.install()
mteb = package("mteb")
wrappers = package("mteb.models.search_wrappers")
protocols = package("mteb.models.models_protocols")
adapter = package("lanner.mteb")

DIMENSION = 16
FUNCTIONS = ["cosine", "dot", "euclidean", "MaxSim"]
DOCUMENTS = [f"document {at}" for at in range(50)]
QUERIES = [f"query {at}" for at in range(6)]


class Encoder:
    """An encoder in MTEB's form that looks embeddings up."""

    def __init__(self, function: str) -> None:
        random = np.random.default_rng(5)
        scoring = package("mteb.models.model_meta").ScoringFunction(function)
        self.mteb_model_meta = SimpleNamespace(name="test/encoder", similarity_fn_name=scoring)
        self.many = function == "MaxSim"
        self.vectors = {}
        for text in DOCUMENTS + QUERIES:
            shape = (int(random.integers(1, 6)), DIMENSION) if self.many else (DIMENSION,)
            self.vectors[text] = random.standard_normal(shape).astype(np.float32)

    def encode(self, inputs: Any, **options: Any) -> Any:
        texts = [text for batch in inputs for text in batch["text"]]
        rows = [self.vectors[text] for text in texts]
        return rows if self.many else np.stack(rows)

    def similarity(self, first: Any, second: Any) -> Any:
        raise AssertionError("the engine compares")

    def exact(self, query: str, text: str) -> float:
        """The oracle, in double precision."""
        a, b = self.vectors[query].astype(np.float64), self.vectors[text].astype(np.float64)
        function = self.mteb_model_meta.similarity_fn_name.value
        if function == "euclidean":
            return -float(np.linalg.norm(a - b))
        if function == "cosine":
            return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        return float((np.atleast_2d(a) @ np.atleast_2d(b).T).max(axis=1).sum())

    def ranking(self, query: str, texts: list[str]) -> dict[str, float]:
        scores = {text: self.exact(query, text) for text in texts}
        return dict(sorted(scores.items(), key=lambda item: -item[1]))


def table(texts: list[str]) -> Any:
    return datasets.Dataset.from_dict({"id": [text.replace(" ", "-") for text in texts], "text": texts})


def task() -> dict[str, Any]:
    metadata = mteb.get_task("NFCorpus").metadata
    return {
        "task_metadata": metadata,
        "hf_split": "test",
        "hf_subset": "default",
        "encode_kwargs": {"batch_size": 8},
    }


@pytest.fixture(params=FUNCTIONS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return Encoder(request.param)


def search_with(searcher: Any, top_k: int, top_ranked: Any = None) -> dict[str, dict[str, float]]:
    searcher.index(table(DOCUMENTS), **task(), num_proc=None)
    found: dict[str, dict[str, float]] = searcher.search(
        table(QUERIES), **task(), top_k=top_k, top_ranked=top_ranked, num_proc=None
    )
    return found


def same(found: dict[str, dict[str, float]], encoder: Encoder, top_k: int) -> None:
    for query in QUERIES:
        expected = dict(list(encoder.ranking(query, DOCUMENTS).items())[:top_k])
        got = found[query.replace(" ", "-")]
        assert {id.replace("-", " ") for id in got} == set(expected)
        for id, score in got.items():
            assert score == pytest.approx(expected[id.replace("-", " ")], abs=1e-4)


def test_search_is_a_search_model(db: lanner.Database, encoder: Encoder) -> None:
    searcher = adapter.Search(encoder, db, corpus_chunk_size=20, exact=True)
    assert isinstance(searcher, protocols.SearchProtocol)
    assert searcher.mteb_model_meta is encoder.mteb_model_meta
    same(search_with(searcher, 7), encoder, 7)
    # It is used for one task after another.
    same(search_with(searcher, 100), encoder, 50)
    assert db.list() == []


def test_the_backend_in_the_wrapper_of_mteb(encoder: Encoder) -> None:
    backend = adapter.IndexBackend(encoder, exact=True)
    same(search_with(wrappers.SearchEncoderWrapper(encoder, index_backend=backend), 7), encoder, 7)


def test_reranking_ranks_what_is_given(encoder: Encoder) -> None:
    ranked = {query.replace(" ", "-"): [f"document-{at}" for at in range(9, 0, -2)] for query in QUERIES}
    found = search_with(adapter.Search(encoder), 3, ranked)
    for query in QUERIES:
        expected = list(encoder.ranking(query, [f"document {at}" for at in range(9, 0, -2)]).items())[:3]
        got = found[query.replace(" ", "-")]
        assert {id.replace("-", " ") for id in got} == {text for text, _ in expected}
        assert sorted(got.values(), reverse=True) == pytest.approx([score for _, score in expected], abs=1e-4)


def test_places_and_scores_of_the_backend(db: lanner.Database) -> None:
    encoder = Encoder("dot")
    backend = adapter.IndexBackend(encoder, db, exact=True)
    vectors = np.stack([encoder.vectors[text] for text in DOCUMENTS])
    queries = np.stack([encoder.vectors[text] for text in QUERIES])
    backend.add_documents(vectors[:30], DOCUMENTS[:30])
    backend.add_documents(vectors[30:], DOCUMENTS[30:])
    scores, places = backend.search(queries, 5, encoder.similarity)
    exact = queries.astype(np.float64) @ vectors.astype(np.float64).T
    assert places == np.argsort(-exact, axis=1)[:, :5].tolist()
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :5], atol=1e-4)
    ranked = {"a": ["document 3", "document 1"], "b": []}
    some, local = backend.search(queries[:2], 5, encoder.similarity, ranked, {0: "a", 1: "b"})
    assert sorted(local[0]) == [0, 1] and local[1] == [] and some[1] == []
    backend.clear()
    assert db.list() == []


def test_what_is_refused() -> None:
    encoder = Encoder("dot")
    with pytest.raises(lanner.InvalidInput, match="model: expected a similarity of .*, got manhattan"):
        adapter.IndexBackend(SimpleNamespace(mteb_model_meta=SimpleNamespace(similarity_fn_name="manhattan")))
    backend = adapter.IndexBackend(encoder)
    with pytest.raises(lanner.InvalidInput, match="documents: expected at least one"):
        backend.search(np.ones((1, DIMENSION)), 5)
    backend.add_documents(np.ones((2, DIMENSION)), ["a", "b"])
    with pytest.raises(lanner.InvalidInput, match="query_idx_to_id: expected query ids"):
        backend.search(np.ones((1, DIMENSION)), 5, top_ranked={"q": ["a"]})
    with pytest.raises(lanner.InvalidInput, match="expected ids of documents in the corpus, got 'c'"):
        backend.search(np.ones((1, DIMENSION)), 5, top_ranked={"q": ["c"]}, query_idx_to_id={0: "q"})
    backend.clear()
