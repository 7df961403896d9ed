"""`lanner.beir` with BEIR's own evaluator: against exact scores, and against `lanner beir`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters_support import package
from conftest import ROOT, program

import lanner

evaluation = package("beir.retrieval.evaluation")
beir = package("lanner.beir")

DOCUMENTS, QUERIES, DIMENSION = 60, 7, 16
SHARED = Path(__file__).resolve().parents[5] / "shared/data/nfcorpus"
NFCORPUS = Path(os.environ.get("LANNER_NFCORPUS", SHARED))


class Encoder:
    """An encoder in BEIR's form that looks embeddings up."""

    def __init__(self, documents: Mapping[str, Any], queries: Mapping[str, Any], many: bool) -> None:
        self.documents, self.queries, self.many = documents, queries, many
        self.options: list[dict[str, Any]] = []

    def encode_queries(self, queries: list[str], batch_size: int, **options: Any) -> Any:
        self.options.append({"batch_size": batch_size, **options})
        return self._stack([self.queries[text] for text in queries])

    def encode_corpus(self, corpus: list[dict[str, str]], batch_size: int, **options: Any) -> Any:
        return self._stack([self.documents[document["title"] + document["text"]] for document in corpus])

    def _stack(self, rows: list[Any]) -> Any:
        return rows if self.many else np.stack(rows)


class Task:
    """A small corpus, in which one document has the id and the embedding of a query (as in ArguAna)."""

    def __init__(self, many: bool) -> None:
        random = np.random.default_rng(11)

        def embedding() -> np.ndarray:
            shape = (int(random.integers(1, 6)), DIMENSION) if many else (DIMENSION,)
            return random.standard_normal(shape).astype(np.float32)

        self.many = many
        self.corpus = {f"d{at}": {"title": "", "text": f"document {at}"} for at in range(DOCUMENTS)}
        self.queries = {f"q{at}": f"query {at}" for at in range(QUERIES)}
        self.document_vectors = {document["text"]: embedding() for document in self.corpus.values()}
        self.query_vectors = {text: embedding() for text in self.queries.values()}
        self.corpus["q0"] = {"title": "", "text": "the first query"}
        self.document_vectors["the first query"] = self.query_vectors["query 0"]
        self.qrels = {
            query: {f"d{int(at)}": 1 for at in random.choice(DOCUMENTS, 5, replace=False)}
            for query in self.queries
        }

    def encoder(self) -> Encoder:
        return Encoder(self.document_vectors, self.query_vectors, self.many)

    def exact(self, function: str) -> dict[str, dict[str, float]]:
        """The oracle: scores of all documents but the query's own, in double precision."""
        ids = list(self.corpus)
        documents = [np.atleast_2d(self.document_vectors[self.corpus[id]["text"]]) for id in ids]
        scores = {}
        for query_id, text in self.queries.items():
            query = np.atleast_2d(self.query_vectors[text])
            of = [score(query, document, function) for document in documents]
            scores[query_id] = {id: value for id, value in zip(ids, of) if id != query_id}
        return scores


def score(query: np.ndarray, document: np.ndarray, function: str) -> float:
    query, document = query.astype(np.float64), document.astype(np.float64)
    if function == "cos_sim":
        query = query / np.linalg.norm(query, axis=1, keepdims=True)
        document = document / np.linalg.norm(document, axis=1, keepdims=True)
    return float((query @ document.T).max(axis=1).sum())


@pytest.fixture(params=[False, True], ids=["single", "multi"])
def task(request: pytest.FixtureRequest) -> Task:
    return Task(request.param)


@pytest.mark.parametrize("function", ["cos_sim", "dot"])
def test_results_are_those_of_exact_search(db: lanner.Database, task: Task, function: str) -> None:
    search = beir.Search(task.encoder(), db, corpus_chunk_size=25, exact=True)
    judge = evaluation.EvaluateRetrieval(search, k_values=[1, 10], score_function=function)
    results = judge.retrieve(task.corpus, task.queries)
    exact = task.exact(function)
    for query, found in results.items():
        assert list(found) == sorted(exact[query], key=exact[query].__getitem__, reverse=True)[:10]
        assert list(found.values()) == pytest.approx([exact[query][id] for id in found], abs=1e-4)
    expected = evaluation.EvaluateRetrieval.evaluate(task.qrels, exact, [1, 10])
    assert judge.evaluate(task.qrels, results, [1, 10]) == expected
    assert "q0" not in results["q0"]
    assert db.list() == []


def test_the_default_folder_needs_no_database(task: Task) -> None:
    judge = evaluation.EvaluateRetrieval(beir.Search(task.encoder(), exact=True), k_values=[5])
    assert {len(found) for found in judge.retrieve(task.corpus, task.queries).values()} == {5}


def test_files_give_what_search_gives(tmp_path: Path, task: Task) -> None:
    search = beir.Search(task.encoder(), corpus_chunk_size=25, exact=True)
    judge = evaluation.EvaluateRetrieval(search, k_values=[10], score_function="dot")
    folder = str(tmp_path / "embeddings")
    from_files = judge.encode_and_retrieve(task.corpus, task.queries, encode_output_path=folder)
    assert sorted(os.listdir(folder)) == ["corpus.0.pkl", "corpus.1.pkl", "corpus.2.pkl", "queries.pkl"]
    in_memory = judge.retrieve(task.corpus, task.queries)
    for query, found in in_memory.items():
        assert list(from_files[query]) == list(found)
    # What was encoded is not encoded again.
    search.model = Encoder({}, {}, task.many)
    assert judge.encode_and_retrieve(task.corpus, task.queries, encode_output_path=folder) == from_files


def test_options_reach_the_encoder() -> None:
    task = Task(False)
    encoder = task.encoder()
    beir.Search(encoder, batch_size=3, show_progress_bar=False).search(
        task.corpus, task.queries, 1, "dot", prompt="query: "
    )
    assert encoder.options == [
        {"batch_size": 3, "show_progress_bar": False, "convert_to_tensor": False, "prompt": "query: "}
    ]


def test_what_is_refused(tmp_path: Path) -> None:
    task = Task(False)
    with pytest.raises(lanner.InvalidInput, match="model: expected an encoder with encode_queries"):
        beir.Search(object())
    search = beir.Search(task.encoder())
    with pytest.raises(lanner.InvalidInput, match="score_function: expected 'cos_sim' or 'dot', got 'l1'"):
        search.search(task.corpus, task.queries, 10, "l1")
    with pytest.raises(lanner.InvalidInput, match="top_k: expected 1 to 9999, got 10000"):
        search.search(task.corpus, task.queries, 10_000, "dot")
    with pytest.raises(lanner.InvalidInput, match="documents: expected at least one"):
        search.search({}, task.queries, 10, "dot")
    with pytest.raises(lanner.InvalidInput, match="corpus_embeddings_files: expected at least one"):
        search.search_from_files(str(tmp_path / "queries.pkl"), [], 10)


def test_a_failed_search_leaves_no_collection(db: lanner.Database) -> None:
    task = Task(False)
    queries = Task(True).query_vectors
    with pytest.raises(lanner.InvalidInput, match="queries: expected one vector a text as of the documents"):
        beir.Search(Encoder(task.document_vectors, queries, True), db).search(task.corpus, task.queries, 5)
    assert db.list() == []


def load(many: bool) -> tuple[Any, Any, Any, Encoder]:
    """NFCorpus in BEIR's form, and an encoder that looks its embeddings up."""
    loader = package("beir.datasets.data_loader").GenericDataLoader(str(NFCORPUS))
    corpus, queries, qrels = loader.load("test")
    vectors = {}
    for name in ("corpus", "queries"):
        ids = (NFCORPUS / f"{name}.ids").read_text().split()
        if many:
            offsets = np.load(NFCORPUS / f"{name}_tokens_offsets.i64.npy")
            values = tokens(name)
            rows: Any = [values[start:end] for start, end in pairwise(offsets)]
        else:
            rows = np.load(NFCORPUS / f"{name}.f32.npy")
        vectors[name] = dict(zip(ids, rows))
    documents: dict[str, Any] = {}
    for id, document in corpus.items():
        # Some documents are there twice, with the same embedding.
        first = documents.setdefault(document["title"] + document["text"], vectors["corpus"][id])
        assert np.array_equal(first, vectors["corpus"][id])
    texts = {text: vectors["queries"][id] for id, text in queries.items()}
    return corpus, queries, qrels, Encoder(documents, texts, many)


def skip_slow(many: bool) -> None:
    if many and not os.environ.get("LANNER_SLOW_TESTS"):
        pytest.skip("indexes 348,000 token vectors three times, in 90 seconds: set LANNER_SLOW_TESTS=1")


def tokens(name: str) -> np.ndarray:
    if name == "queries":
        return np.load(NFCORPUS / "queries_tokens.f32.npy")
    return np.load(NFCORPUS / "corpus_tokens.i8.npy").astype(np.float32) / 127


def judged(folder: Path, many: bool) -> float:
    """nDCG@10 of `lanner beir`."""

    def place(name: str) -> str:
        return str(NFCORPUS / name)

    given = {"dataset": str(NFCORPUS), "corpus-ids": place("corpus.ids"), "query-ids": place("queries.ids")}
    if many:
        np.save(folder / "tokens.npy", tokens("corpus"))
        given["tokens"] = f"{folder / 'tokens.npy'},{place('corpus_tokens_offsets.i64.npy')}"
        given["query-tokens"] = f"{place('queries_tokens.f32.npy')},{place('queries_tokens_offsets.i64.npy')}"
    else:
        given["corpus-vectors"], given["query-vectors"] = place("corpus.f32.npy"), place("queries.f32.npy")
    arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
    report = folder / "report.json"
    command = [str(program()), "beir", *arguments, "--json-report", str(report)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(report.read_text())
    # Of many vectors there are two reports, by encodings and by exact MaxSim.
    return float((found[0] if many else found)["ndcg_10"])


needs_nfcorpus = pytest.mark.skipif(
    not NFCORPUS.exists(), reason="NFCorpus is not there: LANNER_NFCORPUS names its folder"
)


@needs_nfcorpus
@pytest.mark.parametrize("many", [False, True], ids=["single", "multi"])
def test_nfcorpus_is_judged_as_by_the_command(tmp_path: Path, server: Any, many: bool) -> None:
    corpus, queries, qrels, encoder = load(many)
    skip_slow(many)
    expected = judged(tmp_path, many)
    with lanner.open(tmp_path / "db") as embedded, lanner.connect(server.address, timeout=600) as remote:
        for database in (embedded, remote):
            search = beir.Search(encoder, database)
            judge = evaluation.EvaluateRetrieval(search, k_values=[10, 100], score_function="dot")
            ndcg, *_ = judge.evaluate(qrels, judge.retrieve(corpus, queries), judge.k_values)
            assert f"{ndcg['NDCG@10']:.4f}" == f"{expected:.4f}"


def ten_lines(database: lanner.Database, many: bool) -> float:
    """nDCG@10 by the lines in docs/python.md, with this database and the files of NFCorpus."""
    document = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in document.split("```python\n")]
    [code] = [block for block in blocks if "GenericDataLoader" in block]
    assert len(code.splitlines()) == 10

    def vectors(name: str) -> Any:
        if many:
            return lanner.Ragged(tokens(name), np.load(NFCORPUS / f"{name}_tokens_offsets.i64.npy"))
        return np.load(NFCORPUS / f"{name}.f32.npy")

    given = {
        'GenericDataLoader("nfcorpus")': f"GenericDataLoader({str(NFCORPUS)!r})",
        'lanner.open("db")': "database",
        'np.load("corpus.npy")': "vectors('corpus')",
        'np.load("queries.npy")': "vectors('queries')",
        "print(": "answer.append(",
    }
    if many:
        given['lanner.vector(384, metric="dot")'] = "lanner.multivector(128)"
    for line, ours in given.items():
        assert code.count(line) == 1, line
        code = code.replace(line, ours)
    names: dict[str, Any] = {"database": database, "vectors": vectors, "answer": []}
    exec(code, names)
    database.drop("nfcorpus")
    return float(names["answer"][0]["NDCG@10"])


@needs_nfcorpus
@pytest.mark.parametrize("many", [False, True], ids=["single", "multi"])
def test_nfcorpus_in_ten_lines_is_judged_as_by_the_command(tmp_path: Path, server: Any, many: bool) -> None:
    skip_slow(many)
    expected = judged(tmp_path, many)
    with lanner.open(tmp_path / "db") as embedded, lanner.connect(server.address, timeout=600) as remote:
        for database in (embedded, remote):
            assert f"{ten_lines(database, many):.4f}" == f"{expected:.4f}"
