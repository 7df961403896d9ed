"""An index for PyLate (https://github.com/lightonai/pylate) that returns final rankings, as PLAID does.

    from pylate import models, retrieve
    import lanner.pylate

    index = lanner.pylate.Index("indexes", "passages")
    index.add_documents(ids, model.encode(texts, is_query=False))
    retriever = retrieve.ColBERT(index=index)
    results = retriever.retrieve(model.encode(queries, is_query=True), k=10)

Unlike PLAID it takes documents at any time without another clustering, removes them for good, and scores
with the tokens themselves. Install it with `pip install lanner[pylate]`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pylate.indexes.base import Base
from pylate.rank import RerankResult

from ._database import open as open_database
from ._errors import InvalidInput
from ._evaluation import FIELD, MAX_LIMIT, Embeddings, field_of, read_embeddings
from ._filters import has_id

if TYPE_CHECKING:
    import numpy
    from typing_extensions import Self

    from ._collection import Collection
    from ._database import Database

__all__ = ["Index"]

_METRIC = "dot"


class Index(Base):  # type: ignore[misc]
    """PyLate's end-to-end index: token embeddings in, documents by MaxSim out.

    Scores are the sum, over the tokens of a query, of the best dot product with a token of the document;
    higher is better. Document ids are texts.

    Args:
        index_folder: Folder of the databases; created if missing.
        name: Folder in it, and the name of the collection: 1 to 64 of `a-z`, `0-9`, `_` and `-`.
        recreate: Deletes the documents that are there already.
        database: A database of `lanner.open` or `lanner.connect`, instead of `index_folder`.
        exact: Compares with every token itself, not with codes.
        target_recall: The share of the exact best documents to find, 0.5 to 0.999 [0.98].
        settings: Settings of the field, as of `lanner.multivector`; used when it is created.
    """

    is_end_to_end_index = True

    def __init__(
        self,
        index_folder: str = "indexes",
        name: str | None = "colbert_collection",
        recreate: bool = False,
        *,
        database: Database | None = None,
        exact: bool = False,
        target_recall: float | None = None,
        **settings: Any,
    ) -> None:
        self._name = name or "colbert_collection"
        self._owned = database is None
        self._database = database or open_database(_folder(index_folder, self._name))
        self._exact = exact
        self._target_recall = target_recall
        self._settings = settings
        self._collection: Collection | None = None
        if self._name in self._database:
            if recreate:
                self._database.drop(self._name)
            else:
                self._collection = self._database[self._name]

    def add_documents(
        self,
        documents_ids: str | list[str],
        documents_embeddings: Any,
        batch_size: int = 2_000,
        *,
        optimize: bool = True,
    ) -> Self:
        """Adds documents, replacing those of the same ids.

        Args:
            documents_embeddings: A list of [tokens, dimension] arrays or tensors, or one
                [documents, tokens, dimension]; [tokens, dimension] is one document.
            batch_size: Number of documents that are written at a time.
            optimize: Merges and indexes them now, and waits; else in the background.
        """
        ids = _id_list(documents_ids)
        embeddings = _documents(documents_embeddings)
        if len(embeddings) != len(ids):
            raise InvalidInput(
                f"documents_embeddings: expected {len(ids)}, one a document, got {len(embeddings)}"
            )
        for start in range(0, len(ids), batch_size):
            part = slice(start, start + batch_size)
            read = read_embeddings(embeddings[part], "documents_embeddings")
            self._field(read).upsert(ids=ids[part], vectors=read.values, progress=False)
        if ids and optimize and self._collection is not None:
            self._collection.optimize(progress=False)
        return self

    def remove_documents(self, documents_ids: list[str]) -> Self:
        """Removes documents; ids that are not there are skipped."""
        if self._collection is not None:
            self._collection.delete(_id_list(documents_ids))
        return self

    def update_documents(self, documents_ids: list[str], documents_embeddings: Any) -> Self:
        """Replaces the embeddings of documents; those that are not there are added."""
        return self.add_documents(documents_ids, documents_embeddings)

    def __call__(
        self,
        queries_embeddings: Any,
        k: int = 10,
        subset: list[list[str]] | list[str] | None = None,
    ) -> list[list[RerankResult]]:
        """Finds the best documents of each query.

        Args:
            queries_embeddings: A list of [tokens, dimension], or one [queries, tokens, dimension];
                [tokens, dimension] is one query.
            k: Number of documents, at most 10,000.
            subset: Ids of the documents to choose from: one list for all queries, or one for each.

        Returns:
            For each query, `{"id", "score"}` of at most k documents, best first.
        """
        if not 1 <= k <= MAX_LIMIT:
            raise InvalidInput(f"k: expected 1 to {MAX_LIMIT}, got {k}")
        queries = _documents(queries_embeddings)
        if self._collection is None:
            return [[] for _ in queries]
        if subset is None or not subset or isinstance(subset[0], str):
            return self._search(queries, k, subset)
        if len(subset) != len(queries):
            raise InvalidInput(f"subset: expected {len(queries)} lists, one a query, got {len(subset)}")
        found: list[list[RerankResult]] = []
        for ids, run in groupby(range(len(queries)), lambda at: subset[at]):
            places = list(run)
            found += self._search(queries[places[0] : places[-1] + 1], k, ids)
        return found

    def get_documents_embeddings(self, documents_ids: list[list[str]]) -> list[list[numpy.ndarray]]:
        """The embeddings of documents, [tokens, dimension] of float32 each, in the shape of the ids.

        Raises:
            InvalidInput: It names an id without a document.
        """
        wanted = sorted({id for ids in documents_ids for id in ids})
        points = (
            self._collection.get(wanted, with_vectors=True, with_payload=False) if self._collection else []
        )
        known = {point.id: point.vectors[FIELD] for point in points}
        missing = next((id for id in wanted if id not in known), None)
        if missing is not None:
            raise InvalidInput(f"documents_ids: expected ids of documents in the index, got {missing!r}")
        return [[known[id] for id in ids] for ids in documents_ids]

    def __len__(self) -> int:
        return 0 if self._collection is None else len(self._collection)

    def close(self) -> None:
        """Closes the index's own database; one that was given stays open."""
        if self._owned:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _field(self, read: Embeddings) -> Collection:
        """The collection, which the first documents create."""
        if self._collection is None:
            field = field_of(read, _METRIC, self._settings)
            self._collection = self._database.create_collection(self._name, {FIELD: field})
        return self._collection

    def _search(
        self, queries: Sequence[Any], k: int, subset: Sequence[Any] | None
    ) -> list[list[RerankResult]]:
        if subset is not None and not len(subset):
            return [[] for _ in queries]
        assert self._collection is not None
        if not len(self._collection) or not len(queries):
            return [[] for _ in queries]
        answers = self._collection.batch_query(
            FIELD,
            read_embeddings(queries, "queries_embeddings").values,
            limit=min(k, len(self._collection)),
            filter=None if subset is None else has_id(*subset),
            exact=self._exact,
            target_recall=self._target_recall,
        )
        return [list(_results(answers[at])) for at in range(len(answers))]


def _results(hits: Any) -> Iterator[RerankResult]:
    for id, score in zip(hits.ids, hits.scores.tolist()):
        yield RerankResult(id=id, score=score)


def _folder(index_folder: str, name: str) -> str:
    os.makedirs(index_folder, exist_ok=True)
    return os.path.join(index_folder, name)


def _id_list(ids: str | Sequence[str]) -> list[str]:
    return [ids] if isinstance(ids, str) else list(ids)


def _documents(embeddings: Any) -> Any:
    """A sequence of [tokens, dimension]; one text's embeddings alone are a sequence of one."""
    return [embeddings] if getattr(embeddings, "ndim", 3) == 2 else embeddings
