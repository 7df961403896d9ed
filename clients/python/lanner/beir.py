"""Judges any encoder with BEIR (https://github.com/beir-cellar/beir), searching with Lanner.

    from beir.retrieval.evaluation import EvaluateRetrieval
    import lanner.beir

    evaluation = EvaluateRetrieval(lanner.beir.Search(model))
    results = evaluation.retrieve(corpus, queries)
    ndcg, mean_ap, recall, precision = evaluation.evaluate(qrels, results, evaluation.k_values)

Install it with `pip install lanner[beir]`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from beir.retrieval.search.base import BaseSearch

from ._errors import InvalidInput
from ._evaluation import MAX_LIMIT, Corpus

if TYPE_CHECKING:
    from ._database import Database

__all__ = ["Search"]

Documents = Mapping[str, Mapping[str, str]]
Results = dict[str, dict[str, float]]

_METRICS = {"cos_sim": "cosine", "dot": "dot"}


class Search(BaseSearch):  # type: ignore[misc]
    """BEIR's retriever over Lanner.

    Documents with the id of the query are dropped, as BEIR's own retrievers do (ArguAna, Quora).

    Args:
        model: An encoder as BEIR takes it: `encode_queries(texts, batch_size=…)` and
            `encode_corpus(documents, batch_size=…)`. They return one vector a text, [texts, dimension],
            or many: a list of [n, dimension], or [texts, n, dimension]. Many are scored by MaxSim.
        database: The database to work in, of `lanner.open` or `lanner.connect`; a temporary folder if
            not given. The collection is dropped after each search.
        batch_size: Number of texts that the model encodes at a time.
        corpus_chunk_size: Number of documents that are encoded before they are written.
        exact: Compares with every vector itself, not with codes.
        target_recall: The share of the exact nearest documents to find, 0.5 to 0.999 [0.98].
        settings: Settings of the field, as of `lanner.vector` or `lanner.multivector`.
    """

    def __init__(
        self,
        model: Any,
        database: Database | None = None,
        *,
        batch_size: int = 128,
        corpus_chunk_size: int = 50_000,
        show_progress_bar: bool = True,
        exact: bool = False,
        target_recall: float | None = None,
        **settings: Any,
    ) -> None:
        missing = [name for name in ("encode_queries", "encode_corpus") if not hasattr(model, name)]
        if missing:
            expected = "an encoder with encode_queries and encode_corpus"
            raise InvalidInput(f"model: expected {expected}, got {type(model).__name__} without {missing[0]}")
        self.model = model
        self.database = database
        self.batch_size = batch_size
        self.corpus_chunk_size = corpus_chunk_size
        self.show_progress_bar = show_progress_bar
        self.exact = exact
        self.target_recall = target_recall
        self.settings = settings
        self.results: Results = {}

    def search(
        self,
        corpus: Documents,
        queries: Mapping[str, str],
        top_k: int,
        score_function: str | None = "cos_sim",
        **options: Any,
    ) -> Results:
        """Encodes the corpus and the queries, and finds the best `top_k` documents of each query.

        Args:
            score_function: `"cos_sim"` or `"dot"`, of two vectors; `EvaluateRetrieval` passes its own.
            options: Passed on to the model.

        Returns:
            Scores by query id and document id; higher is better.
        """
        with self._corpus(score_function) as index:
            ids, documents = list(corpus), list(corpus.values())
            for start in range(0, len(ids), self.corpus_chunk_size):
                part = slice(start, start + self.corpus_chunk_size)
                index.add(ids[part], self._encode_corpus(documents[part], options))
            return self._retrieve(index, list(queries), self._encode_queries(queries, options), top_k)

    def encode(
        self,
        corpus: Documents,
        queries: Mapping[str, str],
        encode_output_path: str = "./embeddings/",
        overwrite: bool = False,
        query_filename: str = "queries.pkl",
        corpus_filename: str = "corpus.*.pkl",
        **options: Any,
    ) -> None:
        """Encodes the corpus and the queries into files, for `search_from_files`.

        The files are BEIR's: pickles of (embeddings, ids), a file a chunk of documents. Those that exist
        are kept unless `overwrite`.
        """
        os.makedirs(encode_output_path, exist_ok=True)
        file = os.path.join(encode_output_path, query_filename)
        if overwrite or not os.path.exists(file):
            _save(file, self._encode_queries(queries, options), list(queries))
        ids, documents = list(corpus), list(corpus.values())
        for chunk, start in enumerate(range(0, len(ids), self.corpus_chunk_size)):
            part = slice(start, start + self.corpus_chunk_size)
            file = os.path.join(encode_output_path, corpus_filename.replace("*", str(chunk)))
            if overwrite or not os.path.exists(file):
                _save(file, self._encode_corpus(documents[part], options), ids[part])

    def search_from_files(
        self,
        query_embeddings_file: str,
        corpus_embeddings_files: Sequence[str],
        top_k: int,
        score_function: str | None = "dot",
        **options: Any,
    ) -> Results:
        """Finds the best `top_k` documents of each query in embeddings that `encode` wrote.

        The files are pickles: read only files that you trust. The score function is `"dot"` if not given,
        as in BEIR's own retriever.
        """
        if not corpus_embeddings_files:
            raise InvalidInput("corpus_embeddings_files: expected at least one file, got none")
        with self._corpus(score_function) as index:
            for file in corpus_embeddings_files:
                embeddings, ids = _load(file)
                index.add(ids, embeddings)
            embeddings, ids = _load(query_embeddings_file)
            return self._retrieve(index, ids, embeddings, top_k)

    def _corpus(self, score_function: str | None) -> Corpus:
        metric = _METRICS.get(score_function or "cos_sim")
        if metric is None:
            raise InvalidInput(f"score_function: expected 'cos_sim' or 'dot', got {score_function!r}")
        return Corpus(self.database, metric, self.settings)

    def _encode_queries(self, queries: Mapping[str, str], options: dict[str, Any]) -> Any:
        return self.model.encode_queries(list(queries.values()), **self._encoding(options))

    def _encode_corpus(self, documents: list[Mapping[str, str]], options: dict[str, Any]) -> Any:
        return self.model.encode_corpus(documents, **self._encoding(options))

    def _encoding(self, options: dict[str, Any]) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "show_progress_bar": self.show_progress_bar,
            "convert_to_tensor": False,
            **options,
        }

    def _retrieve(self, index: Corpus, query_ids: Sequence[str], embeddings: Any, top_k: int) -> Results:
        if not 1 <= top_k < MAX_LIMIT:
            raise InvalidInput(f"top_k: expected 1 to {MAX_LIMIT - 1}, got {top_k}")
        if not query_ids:
            return {}
        # One more than wanted: the query's own document may be among them.
        found = index.search(embeddings, top_k + 1, exact=self.exact, target_recall=self.target_recall)
        if len(found) != len(query_ids):
            raise InvalidInput(
                f"queries: expected {len(query_ids)} embeddings, one a query, got {len(found)}"
            )
        self.results = {
            query_id: _without(query_id, hits.ids, hits.scores.tolist(), top_k)
            for query_id, hits in zip(query_ids, map(found.__getitem__, range(len(found))))
        }
        return self.results


def _without(query_id: str, ids: list[Any], scores: list[float], top_k: int) -> dict[str, float]:
    """The best `top_k` documents, but for one that is the query itself."""
    kept = [(id, score) for id, score in zip(ids, scores) if id != query_id]
    return dict(kept[:top_k])


def _save(file: str, embeddings: Any, ids: list[str]) -> None:
    for step in ("detach", "cpu", "numpy"):
        if hasattr(embeddings, step):
            embeddings = getattr(embeddings, step)()
    with open(file, "wb") as out:
        pickle.dump((embeddings, ids), out)


def _load(file: str) -> tuple[Any, list[str]]:
    with open(file, "rb") as pickled:
        embeddings, ids = pickle.load(pickled)
    return embeddings, list(map(str, ids))
