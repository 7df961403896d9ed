"""Judges encoders with MTEB (https://github.com/embeddings-benchmark/mteb), searching with Lanner.

    import mteb
    import lanner.mteb

    model = mteb.get_model("sentence-transformers/all-MiniLM-L6-v2")
    results = mteb.evaluate(lanner.mteb.Search(model), tasks=mteb.get_tasks(["NFCorpus"]))

`Search` is MTEB's `SearchProtocol`; `IndexBackend` its `IndexEncoderSearchProtocol`, for
`SearchEncoderWrapper(model, index_backend=…)`. Install it with `pip install lanner[mteb]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mteb.models.search_wrappers import SearchEncoderWrapper

from ._errors import InvalidInput
from ._evaluation import Corpus
from ._filters import has_id

if TYPE_CHECKING:
    from ._database import Database

__all__ = ["IndexBackend", "Search"]

# Values of mteb's ScoringFunction.
_METRICS = {"cosine": "cosine", "dot": "dot", "euclidean": "l2", "MaxSim": "dot"}

Found = tuple[list[list[float]], list[list[int]]]


class IndexBackend:
    """Where MTEB's `SearchEncoderWrapper` keeps and searches embeddings.

    Args:
        model: The encoder; its `mteb_model_meta.similarity_fn_name` says how vectors are compared.
        database: The database to work in, of `lanner.open` or `lanner.connect`; a temporary folder if
            not given. `clear` drops the collection.
        exact: Compares with every vector itself, not with codes. Reranking always does.
        target_recall: The share of the exact nearest documents to find, 0.5 to 0.999 [0.98].
        settings: Settings of the field, as of `lanner.vector` or `lanner.multivector`.
    """

    def __init__(
        self,
        model: Any,
        database: Database | None = None,
        *,
        exact: bool = False,
        target_recall: float | None = None,
        **settings: Any,
    ) -> None:
        function = model.mteb_model_meta.similarity_fn_name
        name = str(getattr(function, "value", function))
        if name not in _METRICS:
            raise InvalidInput(f"model: expected a similarity of {', '.join(_METRICS)}, got {name}")
        self._distances = _METRICS[name] == "l2"
        self._exact = exact
        self._target_recall = target_recall
        self._corpus = Corpus(database, _METRICS[name], settings)
        self._rows: dict[str, int] = {}

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Adds documents: their embeddings, [documents, dimension] or many vectors each, and ids."""
        ids = list(idxs)
        first = len(self._corpus)
        self._corpus.add(range(first, first + len(ids)), embeddings)
        self._rows.update(zip(ids, range(first, first + len(ids))))

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Any = None,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        query_idx_to_id: Mapping[int, str] | None = None,
    ) -> Found:
        """Finds the best documents of each query, or ranks those of `top_ranked`.

        Args:
            embeddings: [queries, dimension], or many vectors each.
            similarity_fn: Not used: the engine compares.
            top_ranked: Ids of the documents to rank, by query id.
            query_idx_to_id: Query ids by row, with `top_ranked`.

        Returns:
            For each query scores, best first, higher is better; and the documents' places in the corpus,
            with `top_ranked` those in its list. Of a Euclidean model scores are negative distances.
        """
        if top_ranked is not None:
            if query_idx_to_id is None:
                raise InvalidInput("query_idx_to_id: expected query ids by row with top_ranked, got None")
            ranked = [top_ranked.get(query_idx_to_id[at], ()) for at in range(len(embeddings))]
            pairs = [self._rerank(embeddings[at : at + 1], top_k, ids) for at, ids in enumerate(ranked)]
            return [scores for scores, _ in pairs], [places for _, places in pairs]
        found = self._corpus.search(embeddings, top_k, exact=self._exact, target_recall=self._target_recall)
        hits = [found[at] for at in range(len(found))]
        return [self._scores(one) for one in hits], [list(one.ids) for one in hits]  # type: ignore[arg-type]

    def clear(self) -> None:
        """Removes all documents."""
        self._corpus.clear()
        self._rows = {}

    def _rerank(self, query: Any, top_k: int, ids: Sequence[str]) -> tuple[list[float], list[int]]:
        if not ids:
            return [], []
        missing = next((id for id in ids if id not in self._rows), None)
        if missing is not None:
            raise InvalidInput(f"top_ranked: expected ids of documents in the corpus, got {missing!r}")
        places = {self._rows[id]: place for place, id in enumerate(ids)}
        limit = min(top_k, len(places))
        hits = self._corpus.search(query, limit, filter=has_id(*places), exact=True)[0]
        return self._scores(hits), [places[row] for row in hits.ids]  # type: ignore[index]

    def _scores(self, hits: Any) -> list[float]:
        scores = hits.scores
        if self._distances:
            scores = -((-scores).clip(min=0.0) ** 0.5)
        found: list[float] = scores.tolist()
        return found


class Search(SearchEncoderWrapper):  # type: ignore[misc]
    """An encoder and Lanner as one of MTEB's search models, as in `mteb.evaluate(Search(model), tasks)`.

    Args:
        model: An encoder of MTEB, one vector a text or many (late interaction).
        database: As of `IndexBackend`, like `options`.
        corpus_chunk_size: Number of documents that are encoded before they are written.
    """

    def __init__(
        self,
        model: Any,
        database: Database | None = None,
        *,
        corpus_chunk_size: int = 50_000,
        **options: Any,
    ) -> None:
        backend = IndexBackend(model, database, **options)
        encoder = model if hasattr(model, "encode") else _Encoder(model)
        super().__init__(encoder, corpus_chunk_size=corpus_chunk_size, index_backend=backend)

    def index(self, corpus: Any, **options: Any) -> None:
        """Encodes and writes a corpus, chunk by chunk, in place of the one before."""
        self.index_backend.clear()
        for start in range(0, len(corpus), self.corpus_chunk_size):
            end = min(start + self.corpus_chunk_size, len(corpus))
            super().index(corpus.select(range(start, end)), **options)
        self.task_corpus = corpus


class _Encoder:
    """MTEB's late-interaction models hide `encode`, lest they be taken for encoders of one vector a text."""

    def __init__(self, model: Any) -> None:
        if not hasattr(model, "_encode"):
            raise InvalidInput(
                f"model: expected an encoder of mteb, got {type(model).__name__} without encode"
            )
        self.mteb_model_meta = model.mteb_model_meta
        self.encode = model._encode
        self.similarity = getattr(model, "similarity", None)
