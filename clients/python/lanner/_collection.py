"""A collection: write, query, browse and tune."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from . import _info
from ._errors import Error, InvalidInput
from ._filters import Filter, to_json
from ._jobs import Job
from ._lazy import json
from ._native import Request
from ._progress import Bar
from ._results import (
    BatchHits,
    Explanation,
    Facets,
    Group,
    Groups,
    Hits,
    Point,
    PointId,
    Stage,
    UpdateReceipt,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from . import _arrays, _native
    from ._fields import AnyField

__all__ = ["Collection", "Durability", "Highlight", "Normalization", "Rescore", "Search", "training_queries"]

Durability = Literal["synced", "buffered"]
Normalization = Literal["min-max", "z-score", "theoretical-min-max"]

_QUERIES = 1_000
_PAGE = 1_000
# Writes wait while a server seals what it has in memory.
_PATIENCE = 10


class Rescore(NamedTuple):
    """The second stage of a query: the best points are scored again, in another field.

    Hits are the best by that score; points without a vector, or without the words, there are left out.
    """

    field: str
    """The field that is scored: single, multi, sparse or text."""
    query: Any
    """What it is scored with: [dimension], [n, dimension] for a multi field, a sparse vector, or words for a
    text field."""
    candidates: int = 100
    """Number of points of the first stage that are scored: from `limit + offset` to 100,000."""


class Highlight(NamedTuple):
    """What a query returns of the texts of hits, around the words that it found."""

    fragments: int = 1
    """Most parts of each path of the text field, 1 to 16."""
    length: int = 200
    """Characters of a part, 20 to 10,000: about so many at most."""


class Search(Request):
    """A query as a value, for `Collection.fuse`. The arguments are those of `Collection.query`."""

    def __new__(
        cls,
        field: str,
        query: Any = None,
        *,
        id: PointId | None = None,
        positive: Sequence[PointId] | None = None,
        negative: Sequence[PointId] | None = None,
        limit: int = 10,
        filter: Filter | None = None,
        score_threshold: float | None = None,
        exact: bool = False,
        rerank: int | None = None,
        search_window: int | None = None,
        target_recall: float | None = None,
        rescore: Rescore | None = None,
        highlight: Highlight | bool | None = None,
    ) -> Self:
        return super().__new__(
            cls, field, query, limit, 0, filter, False, False, id, positive, negative, score_threshold, exact,
            rerank, search_window, target_recall, rescore, highlight, False,
        )  # fmt: skip


class Collection:
    """Points with named vectors and payloads; made by `Database.create_collection` and `.collection`."""

    def __init__(self, backend: _native.Backend, name: str) -> None:
        self._backend = backend
        self._name = name
        self._known_fields: dict[str, AnyField] | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def fields(self) -> Mapping[str, AnyField]:
        """Its vector and text fields by name, which never change."""
        if self._known_fields is None:
            self._known_fields = self.info().fields
        return self._known_fields

    def with_timeout(self, seconds: float | None) -> Collection:
        """The same collection, whose calls fail with `DeadlineExceeded` after so many seconds.

        Waiting for jobs is not meant. Embedded, only queries keep a deadline.
        """
        return self._view(self._backend.within(seconds, None))

    def _cancelled_by(self, token: _native.CancelToken) -> Collection:
        """The same collection, whose calls the token cancels."""
        return self._view(self._backend.within(None, token))

    def _view(self, backend: _native.Backend) -> Collection:
        view = Collection(backend, self._name)
        view._known_fields = self._known_fields
        return view

    # Writing

    def upsert(
        self,
        points: Any = None,
        *,
        ids: Any = None,
        vectors: Any = None,
        payloads: Any = None,
        durability: Durability = "synced",
        id_column: str = "id",
        batch_bytes: int = 16 << 20,
        progress: bool | None = None,
    ) -> int:
        """Writes points, replacing those of the same ids. Queries see them when this returns.

        Give columns: `ids`, `vectors` (which points may lack if there is a text field) and, if wanted,
        `payloads`. Or give `points`: a DataFrame of pandas or polars or an Arrow table, with a column of
        ids, columns named as vector fields, and other columns, which become payloads (missing values are
        left out); or an iterable of `lanner.Point` or of dicts with `id`, `vectors` and `payload`, which is
        read as it is written.

        All is checked before anything is written, as far as types, shapes and ids go. Points are written
        in batches, each of which is stored whole or not at all; if one is refused or fails, those before
        it are stored, and the exception's `stored` says how many points that is.

        Args:
            ids: Integers from 0 to 2**64 - 1, or texts of 1 to 512 bytes; each once (of an iterable the
                last wins). A number and a text never mean the same point.
            vectors: A dict of fields: for a single field [points, dimension], for a multi field a list of
                [n, dimension], one array [points, n, dimension], or `lanner.Ragged(values, offsets)`; for a
                sparse field a matrix of scipy.sparse or a sparse tensor of torch [points, dimensions], or a
                list of `lanner.SparseVector`, dicts {index: value} or pairs (indices, values). If the
                collection has one vector field, its vectors alone will do. Contiguous arrays of float32 and
                float16 are borrowed, other floats and integers are rounded to float32. `None` in a list
                is a point without a vector there.
            payloads: A dict or `None` for each point, or a table.
            durability: `"synced"` waits for the disk; with `"buffered"` a loss of power may take the last
                writes.
            batch_bytes: Size of a batch, in bytes.
            progress: A bar of tqdm: `None` on terminals and in notebooks, if it takes longer than a
                second.

        Returns:
            Number of points that were stored.

        Raises:
            InvalidInput: It names what was refused, as in `points[3].vectors.text`.
        """
        from . import _writing

        total: int | None = None
        if points is None:
            if vectors is None and _writing.has_text(self.fields):
                vectors = {}
            total, batches = _writing.columns(ids, vectors, payloads, self.fields, batch_bytes)
        elif ids is not None or vectors is not None or payloads is not None:
            raise InvalidInput("points: expected points alone, or ids, vectors and payloads, got both")
        elif _writing.is_stream(points):
            batches = _writing.from_points(points, self.fields, batch_bytes)
        else:
            table = _writing.from_table(points, self.fields, id_column)
            total, batches = _writing.columns(*table, self.fields, batch_bytes)
        buffered = _is_buffered(durability)
        timeout = self._backend.timeout
        patient = self._backend if timeout is None else self._backend.within(_PATIENCE * timeout, None)
        stored = 0
        with Bar(progress, f"upsert {self._name}", total, " points") as bar:
            try:
                for batch in batches:
                    stored += patient.upsert(
                        self._name, batch.first, batch.ids, batch.vectors, batch.payloads, buffered
                    )
                    bar.add(len(batch))
            except Error as error:
                error.stored = stored + (error.stored or 0)
                raise
        return stored

    def delete(
        self, ids: Any = None, *, filter: Filter | None = None, durability: Durability = "synced"
    ) -> int:
        """Deletes points: of an id, of several, or those that match a filter.

        Ids without a point are skipped. Returns the number of points that were deleted.
        """
        buffered = _is_buffered(durability)
        if (ids is None) == (filter is None):
            raise InvalidInput("ids: expected ids or a filter, got " + ("neither" if ids is None else "both"))
        if filter is not None:
            return self._backend.delete_where(self._name, to_json(filter), buffered)
        return self._backend.delete(self._name, _ids(ids), buffered)

    def update_payloads(
        self,
        ids: Any = None,
        *,
        filter: Filter | None = None,
        set: Mapping[str, Any] | None = None,
        merge: Mapping[str, Any] | None = None,
        delete: Sequence[str] | None = None,
        durability: Durability = "synced",
    ) -> UpdateReceipt:
        """Changes payloads, and keeps vectors. Nothing that others write meanwhile is lost.

        Args:
            ids: The points: an id, several, or those that match `filter`.
            set: Replaces the payload.
            merge: Is merged into the payload (JSON Merge Patch, RFC 7386): `None` removes a member.
            delete: Paths of members to remove, as in `["meta.tmp"]`.
        """
        from ._payloads import encode

        given = [
            how for how, value in (("set", set), ("merge", merge), ("delete", delete)) if value is not None
        ]
        if len(given) != 1:
            raise InvalidInput(
                f"update: expected one of set, merge and delete, got {' and '.join(given) or 'none'}"
            )
        if (ids is None) == (filter is None):
            raise InvalidInput("ids: expected ids or a filter, got " + ("neither" if ids is None else "both"))
        value: Any = (
            list(delete) if delete is not None else encode(set if set is not None else merge, given[0])
        )
        selection = _ids(ids) if filter is None else to_json(filter)
        buffered = _is_buffered(durability)
        return UpdateReceipt(*self._backend.update_payloads(self._name, selection, given[0], value, buffered))

    def update_vectors(self, ids: Any, vectors: Any, *, durability: Durability = "synced") -> UpdateReceipt:
        """Replaces the vectors of the fields that are named, and keeps all else.

        `ids` and `vectors` are as of `upsert`. Ids without a point are skipped and returned as `missing`.
        """
        from . import _writing

        _, batches = _writing.columns(ids, vectors, None, self.fields, 64 << 20)
        updated = 0
        missing: list[PointId] = []
        buffered = _is_buffered(durability)
        for batch in batches:
            try:
                receipt = self._backend.update_vectors(self._name, batch.ids, batch.vectors, buffered)
            except InvalidInput as error:
                raise _later(error, "points", batch.first) from None
            updated += receipt[0]
            missing += receipt[1]
        return UpdateReceipt(updated, missing)

    # Queries

    def query(
        self,
        field: str,
        query: Any = None,
        *,
        limit: int = 10,
        filter: Filter | None = None,
        offset: int = 0,
        with_payload: bool = True,
        with_vectors: bool = False,
        id: PointId | None = None,
        score_threshold: float | None = None,
        exact: bool = False,
        rerank: int | None = None,
        search_window: int | None = None,
        target_recall: float | None = None,
        rescore: Rescore | None = None,
        highlight: Highlight | bool | None = None,
        explain: bool = False,
    ) -> Hits:
        """Finds the points most similar to a vector, or to the point `id`, which is left out, or with words.

        Args:
            field: The vector or text field.
            query: [dimension], or [n, dimension] for a multi field. For a sparse field a
                `lanner.SparseVector`, a dict {index: value}, or a sparse row of scipy or torch. For a text
                field a text, any of whose words hits have, or a `lanner.TextQuery`, which has operators.
            limit: Number of hits; together with `offset` at most 10,000.
            filter: Which points may be hits: `lanner.field("year") >= 2000`, or a dict (docs/filters.md).
            offset: Number of best hits to leave out.
            score_threshold: The score that a hit needs, at least.
            exact: Compares with every vector itself, not with codes.
            rerank: Number of candidates of a scan or an index that are scored again.
            search_window: How far an index is searched: rows of a graph, or lists.
            target_recall: The share of the exact nearest points to find, 0.5 to 0.999 [0.98].
            rescore: Orders the best points by another field: `lanner.Rescore("tokens", tokens)`.
            highlight: Also cuts parts of the texts of hits around the words found (`Hit.fragments`): `True`,
                or `lanner.Highlight(fragments, length)`.
            explain: Also says how the answer came about (`Hits.explanation`).

        Returns:
            Hits, best first. Scores are higher-is-better for every metric: the cosine, the dot product,
            the negative squared distance, MaxSim, or BM25. Equal scores are ordered by id.
        """
        return Hits(
            self._backend.query(
                self._name,
                Request(
                    field, query, limit, offset, filter, with_payload, with_vectors, id, None, None, score_threshold,
                    exact, rerank, search_window, target_recall, rescore, highlight, explain,
                ),
            )
        )  # fmt: skip

    def batch_query(
        self,
        field: str,
        queries: Any,
        *,
        limit: int = 10,
        filter: Filter | None = None,
        with_payload: bool = False,
        with_vectors: bool = False,
        score_threshold: float | None = None,
        exact: bool = False,
        rerank: int | None = None,
        search_window: int | None = None,
        target_recall: float | None = None,
        highlight: Highlight | bool | None = None,
    ) -> BatchHits:
        """Answers many queries together, which is faster than one by one: `ids, scores = …batch_query(…)`.

        Args:
            queries: [queries, dimension]; for a multi field as in `upsert`: a list of [n, dimension], one
                array [queries, n, dimension], or `lanner.Ragged(values, offsets)`; for a sparse field as
                in `upsert`, too; for a text field a list of texts or `lanner.TextQuery`.

        The others are as of `query`, for all queries.

        Returns:
            Arrays of ids and scores, [queries, limit], best first; `batch[i]` are the hits of query i.
        """
        kind = self.fields[field].kind if field in self.fields else "single"
        answers = []
        for start, values, offsets, indices in _query_parts(queries, kind):
            request = Request(
                field, None, limit, 0, filter, with_payload, with_vectors, None, None, None, score_threshold, exact,
                rerank, search_window, target_recall, None, highlight, False,
            )  # fmt: skip
            try:
                answers.append(self._backend.batch(self._name, request, values, offsets, indices))
            except InvalidInput as error:
                raise _later(error, "queries", start) from None
        if not answers:
            raise InvalidInput("queries: expected at least one query, got none")
        return BatchHits(answers, limit)

    def fuse(
        self,
        searches: Sequence[Search],
        *,
        weights: Sequence[float] | None = None,
        k: float | None = None,
        scores: Normalization | None = None,
        limit: int = 10,
        offset: int = 0,
        with_payload: bool = True,
        with_vectors: bool = False,
        explain: bool = False,
    ) -> Hits:
        """Answers several searches and merges their rankings into one, by ranks or by scores.

        Reciprocal rank fusion, the default: the score of a point is Σ weight / (k + rank) over the searches
        that find it, with ranks from 1. With `scores`, weighted score fusion: Σ weight · normalized score
        over all searches. Higher is better. The `limit` of each search is the number of its hits that count.

        Args:
            searches: 1 to 64, as in `lanner.Search("text", vector, limit=100)`.
            weights: One a search, 0 to 1,000,000; all 1 if not given.
            k: Constant of reciprocal rank fusion, above 0 (default 60); the larger, the smaller the
                advantage of the first ranks. Not together with `scores`.
            scores: How scores are normalized before they are added, over the hits of each search.
                `"min-max"`: (s − min) / (max − min), 1 if all scores are equal, 0 for a point that the
                search did not find. `"z-score"`: (s − mean) / standard deviation, 0 if all scores are equal;
                a point that was not found gets the value of the worst hit. `"theoretical-min-max"`:
                (s − inf) / (max − inf), where inf is the lowest possible score: −1 under cosine, −n for n
                query vectors, 0 of words; for text fields and fields under cosine.
        """
        return Hits(
            self._backend.fuse(
                self._name, list(searches), None if weights is None else list(weights), k, scores, limit,
                offset, with_payload, with_vectors, explain,
            )
        )  # fmt: skip

    def rescore(
        self, field: str, query: Any, by: str, by_query: Any, *, candidates: int = 100, **options: Any
    ) -> Hits:
        """Finds `candidates` in one field and orders them by another, as one vector a text, then its tokens.

        The options are those of `query`. Scores are those of the field `by`.
        """
        return self.query(field, query, rescore=Rescore(by, by_query, candidates), **options)

    def recommend(
        self,
        field: str,
        positive: Sequence[PointId],
        negative: Sequence[PointId] = (),
        *,
        limit: int = 10,
        filter: Filter | None = None,
        offset: int = 0,
        with_payload: bool = True,
        with_vectors: bool = False,
        score_threshold: float | None = None,
        exact: bool = False,
        target_recall: float | None = None,
        explain: bool = False,
    ) -> Hits:
        """Finds what is like some points and unlike others, which are left out; for single-vector fields.

        The query is the mean of the positive points, moved away from that of the negative ones.
        """
        request = Request(
            field, None, limit, offset, filter, with_payload, with_vectors, None, _ids(positive, "positive"),
            _ids(negative, "negative"), score_threshold, exact, None, None, target_recall, None, None, explain,
        )  # fmt: skip
        return Hits(self._backend.query(self._name, request))

    def query_groups(
        self,
        field: str,
        query: Any = None,
        *,
        by: str,
        group_size: int = 3,
        limit: int = 10,
        filter: Filter | None = None,
        with_payload: bool = True,
        with_vectors: bool = False,
        id: PointId | None = None,
        score_threshold: float | None = None,
        exact: bool = False,
        target_recall: float | None = None,
        highlight: Highlight | bool | None = None,
        explain: bool = False,
    ) -> Groups:
        """Finds the best groups of points that share a value, as passages of one document do.

        Args:
            by: A declared payload path. Points without a value there are in no group.
            group_size: Number of hits of a group, 1 to 1,000.
            limit: Number of groups, 1 to 1,000.

        The others are as of `query`.
        """
        request = Request(
            field, query, limit, 0, filter, with_payload, with_vectors, id, None, None, score_threshold, exact, None,
            None, target_recall, None, highlight, explain,
        )  # fmt: skip
        found, estimated_recall, stages = self._backend.groups(self._name, request, by, group_size)
        groups = Groups(Group(json.loads(value), Hits(answer)) for value, answer in found)
        groups.estimated_recall = estimated_recall
        if stages is not None:
            groups.explanation = Explanation(Stage(*stage) for stage in stages)
        return groups

    def explain(self, field: str, query: Any = None, **options: Any) -> Explanation:
        """How a query is answered: what was read in each stage, and how long it took.

        The options are those of `query`.
        """
        return self.query(field, query, explain=True, **options).explanation or Explanation()

    # Browsing

    def get(self, ids: Any, *, with_payload: bool = True, with_vectors: bool = False) -> Any:
        """The point of an id or `None`; of a list of ids those points that exist, in its order."""
        single = isinstance(ids, (str, int)) or getattr(ids, "ndim", 1) == 0
        wanted = _ids(ids)
        found: list[Point] = []
        for start in range(0, len(wanted), 10_000):
            part = wanted[start : start + 10_000]
            found += map(Point._read, self._backend.get(self._name, part, with_payload, with_vectors))
        return (found[0] if found else None) if single else found

    def scroll(
        self,
        filter: Filter | None = None,
        *,
        order_by: str | None = None,
        descending: bool = False,
        after: PointId | None = None,
        limit: int | None = None,
        with_payload: bool = True,
        with_vectors: bool = False,
        page_size: int = _PAGE,
    ) -> Iterator[Point]:
        """Goes through points in the order of their ids (numbers first), or of a declared payload path.

        Args:
            order_by: A declared payload path; points without a value there are left out, and equal values
                are ordered by id.
            after: Starts after this id; without `order_by`.
            limit: Number of points at most.
            page_size: Number of points that are read at a time.
        """
        if order_by is not None and after is not None:
            raise InvalidInput("after: expected none with order_by, got an id")
        pages = self._pages(filter, order_by, descending, after, page_size, limit, with_payload, with_vectors)
        return (Point._read(parts) for page in pages for parts in page)

    def _pages(
        self,
        filter: Filter | None,
        order_by: str | None,
        descending: bool,
        after: Any,
        page_size: int,
        limit: int | None,
        with_payload: bool,
        with_vectors: bool,
    ) -> Iterator[list[_native.PointParts]]:
        condition = None if filter is None else to_json(filter)
        place: Any = after
        while limit is None or limit > 0:
            size = page_size if limit is None else min(page_size, limit)
            if order_by is None:
                page, place = self._backend.scroll(
                    self._name, condition, place, size, with_payload, with_vectors
                )
            else:
                page, place = self._backend.scroll_ordered(
                    self._name, order_by, descending, condition, place, size, with_payload, with_vectors
                )
            yield page
            if place is None:
                return
            limit = None if limit is None else limit - len(page)

    def count(self, filter: Filter | None = None) -> int:
        """Number of points, or of those that match a filter."""
        return self._backend.count(self._name, None if filter is None else to_json(filter))

    def __len__(self) -> int:
        return self.count()

    def facet(self, path: str, *, filter: Filter | None = None, limit: int = 10) -> Facets:
        """How many points have each value of a declared payload path: the most frequent values. Exact."""
        counts, values = self._backend.facet(
            self._name, path, None if filter is None else to_json(filter), limit
        )
        facets = Facets((json.loads(value), count) for value, count in counts)
        facets.values_in_all = values
        return facets

    # Tuning

    def train(
        self, field: str, queries: Any = None, *, wait: bool = True, progress: bool | None = None
    ) -> Job:
        """Trains the compression of a field on queries of the kind that will come, and rewrites segments.

        Args:
            queries: As of `batch_query`, up to 10,000; if not given, those that came to the field lately.
            wait: Waits until it is done; Ctrl-C cancels it.
        """
        sample = None
        if queries is not None:
            sample = training_queries(queries, self.fields[field].kind if field in self.fields else "single")
        return self._started(self._backend.train(self._name, field, sample), wait, progress)

    def optimize(self, *, wait: bool = True, progress: bool | None = None) -> Job:
        """Seals what is in memory, merges segments and builds their indexes.

        All of it happens in the background anyhow, in time; this does it now.

        Args:
            wait: Waits until it is done; Ctrl-C cancels it, and what was done by then stays.
        """
        return self._started(self._backend.optimize(self._name), wait, progress)

    def declare(self, path: str, type: Any, *, wait: bool = True, progress: bool | None = None) -> Job:
        """Declares a payload path of a collection that has points already, and builds its index.

        From now on no point is written that has a value of another type there. Filters on the path read
        payloads until the index is built; facets, groups and orders by it wait for that.

        Args:
            path: As in `meta.year`.
            type: `keyword`, `integer`, `float`, `boolean` or `datetime`, or a type as of `create_collection`.
            wait: Waits until the index is built.

        Raises:
            InvalidInput: A point has a value of another type at the path: it is named, and nothing is declared.
        """
        from ._fields import payload_type

        return self._started(
            self._backend.declare(self._name, path, payload_type(path, type)), wait, progress
        )

    def verify(self, *, wait: bool = True, progress: bool | None = None) -> Job:
        """Reads all files and compares them with their checksums.

        Raises:
            Corrupted: It names each file and section that is damaged.
        """
        return self._started(self._backend.verify(self._name), wait, progress)

    def _started(self, info: _native.JobParts, wait: bool, progress: bool | None) -> Job:
        job = Job(self._backend, info)
        return job.wait(progress) if wait else job

    def flush(self) -> None:
        """Moves everything into sealed segments, and waits for it."""
        self._backend.flush(self._name)

    def info(self) -> _info.CollectionInfo:
        """What the collection consists of: settings, segments, codes and indexes."""
        return _info.read(self._backend.info(self._name))

    def __repr__(self) -> str:
        return f"lanner.Collection({self._name!r})"

    def _repr_html_(self) -> str:
        return self.info()._repr_html_()


def _query_parts(queries: Any, kind: str) -> Iterator[tuple[int, Any, Any, Any]]:
    """Queries in parts: the place of the first, texts or vectors, offsets of a multi or sparse field, and
    indices of a sparse field."""
    from . import _text

    if kind == "text" or _text.are_texts(queries):
        texts = _text.queries(queries, "queries")
        yield from (
            (start, texts[start : start + _QUERIES], None, None) for start in range(0, len(texts), _QUERIES)
        )
        return
    column = _query_vectors(queries, kind)
    for start in range(0, column.points, _QUERIES):
        end = min(start + _QUERIES, column.points)
        if column.offsets is None:
            yield start, column.values[start:end], None, None
        else:
            offsets = column.offsets[start : end + 1]
            rows = slice(offsets[0], offsets[-1])
            indices = None if column.indices is None else column.indices[rows]
            yield start, column.values[rows], offsets - offsets[0], indices


def _query_vectors(queries: Any, kind: str) -> _arrays.Column:
    from . import _arrays, _sparse

    read = {"multi": _arrays.multi, "sparse": _sparse.column}.get(kind, _arrays.matrix)
    column = read(queries, "queries")
    if column.present is not None:
        raise InvalidInput("queries: expected a vector for each query, got None")
    return column


def _later(error: InvalidInput, name: str, start: int) -> InvalidInput:
    """What is wrong with a query or point of a part, by its place in the whole."""
    found = re.match(rf"{name}\[(\d+)\]", str(error))
    if found is None:
        return error
    return InvalidInput(f"{name}[{start + int(found[1])}]{str(error)[found.end() :]}")


def training_queries(queries: Any, kind: str) -> tuple[Any, Any]:
    """Queries as the native module takes them: a matrix, and offsets of a multi field."""
    if kind == "sparse":
        raise InvalidInput("queries: expected none for a sparse field, which has nothing to train, got some")
    column = _query_vectors(queries, kind)
    return column.values, column.offsets


def _ids(ids: Any, name: str = "ids") -> list[int | str]:
    from ._arrays import id_list

    return id_list(ids, name)


def _is_buffered(durability: str) -> bool:
    if durability not in ("synced", "buffered"):
        raise InvalidInput(f"durability: expected 'synced' or 'buffered', got {durability!r}")
    return durability == "buffered"
