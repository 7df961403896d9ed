"""What calls return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union, overload

from ._lazy import json, np
from ._sparse import SparseVector

if TYPE_CHECKING:
    import numpy
    from typing_extensions import Self

    from . import _native

__all__ = [
    "BatchHits",
    "Explanation",
    "Facets",
    "Group",
    "Groups",
    "Hit",
    "Hits",
    "Point",
    "PointId",
    "Stage",
    "UpdateReceipt",
]

PointId = Union[int, str]


class UpdateReceipt(NamedTuple):
    """An update that was acknowledged."""

    affected: int
    """Number of points that were updated."""
    missing: list[PointId]
    """The ids that were named and have no point."""


class Point:
    """A point: an id, vectors by field name, and a payload.

    Of a point that was read, `vectors` are arrays of float32 ([dimension], or [n, dimension] in a multi
    field) or `lanner.SparseVector`, and `reconstructed` names the fields whose vectors come from codes, because the collection
    does not keep the vectors themselves.
    """

    __slots__ = ("_payload", "_text", "id", "reconstructed", "vectors")

    def __init__(
        self, id: PointId, vectors: dict[str, Any] | None = None, payload: dict[str, Any] | None = None
    ) -> None:
        self.id = id
        self.vectors = vectors or {}
        self.reconstructed: tuple[str, ...] = ()
        self._payload = payload
        self._text: str | None = None

    @classmethod
    def _read(cls, parts: _native.PointParts) -> Self:
        point = cls.__new__(cls)
        point.id, point._text, vectors, reconstructed = parts
        point.vectors = vectors or {}
        point.reconstructed = tuple(reconstructed)
        point._payload = None
        return point

    @property
    def payload(self) -> dict[str, Any] | None:
        """The payload, decoded when it is first looked at."""
        if self._payload is None and self._text is not None:
            self._payload = json.loads(self._text)
        return self._payload

    @property
    def payload_json(self) -> str | None:
        """The payload as its JSON text."""
        if self._text is not None or self._payload is None:
            return self._text
        from ._payloads import encode

        return encode(self._payload, "payload")

    def __repr__(self) -> str:
        shapes = {name: _shape(vector) for name, vector in self.vectors.items()}
        vectors = f", vectors={shapes}" if shapes else ""
        payload = "" if self.payload is None else f", payload={self.payload!r}"
        return f"Point({self.id!r}{vectors}{payload})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Point):
            return NotImplemented
        same = self.id == other.id and self.payload == other.payload
        return (
            same
            and self.vectors.keys() == other.vectors.keys()
            and all(_is_equal(vector, other.vectors[name]) for name, vector in self.vectors.items())
        )

    __hash__ = None  # type: ignore[assignment]


def _shape(vector: Any) -> Any:
    return (
        f"{len(vector)} entries" if isinstance(vector, SparseVector) else list(getattr(vector, "shape", ()))
    )


def _is_equal(a: Any, b: Any) -> bool:
    if isinstance(a, SparseVector) or isinstance(b, SparseVector):
        return bool(a == b)
    return bool(np.array_equal(a, b))


class Fragment(NamedTuple):
    """A part of a text of a hit, around words of the query."""

    path: str
    """The payload path of the text."""
    text: str
    """The part."""
    matches: tuple[tuple[int, int], ...]
    """What matched in it, as characters from and to: `text[start:end]`."""

    def marked(self, before: str = "**", after: str = "**") -> str:
        """The part with something before and after each match, as in `marked("<em>", "</em>")`."""
        parts, end = [], 0
        for start, stop in self.matches:
            parts += [self.text[end:start], before, self.text[start:stop], after]
            end = stop
        return "".join([*parts, self.text[end:]])


class Hit(Point):
    """A point that was found, and its score: higher is better for every metric."""

    __slots__ = ("fragments", "score")
    score: float
    fragments: tuple[Fragment, ...]
    """Parts of its texts around words of the query, if it was asked with `highlight`: path by path."""

    def __repr__(self) -> str:
        return f"Hit({self.id!r}, score={self.score:.5g}" + super().__repr__().split(repr(self.id), 1)[1]


class Stage(NamedTuple):
    """A part of the work for an answer."""

    name: str
    """`filter`, `scan`, `search` (of an index or of words), `rerank` or `rescore` (in another field)."""
    source: str
    """What was read: `codes lvq4:256:pca`, `graph lvq4:256:pca, window 16`, `text english, 3 words`."""
    rows: int
    """Rows that were scored; of a filter, rows that are expected to match."""
    bytes: int
    """Bytes that were read for them."""
    micros: int
    """Time it took, in microseconds."""


class Explanation(tuple[Stage, ...]):
    """How an answer came about: its stages in order."""

    def __repr__(self) -> str:
        lines = [
            f"{stage.name:<8} {stage.rows:>10,} rows of {stage.source}, {stage.bytes:,} bytes, {stage.micros} µs"
            for stage in self
        ]
        return "\n".join(lines) or "no stages"

    def _repr_html_(self) -> str:
        from ._html import table

        return table(
            ["stage", "rows", "source", "bytes", "µs"],
            [
                [stage.name, f"{stage.rows:,}", stage.source, f"{stage.bytes:,}", stage.micros]
                for stage in self
            ],
        )


class Hits(Sequence[Hit]):
    """The hits of a query, best first. Hits are made when they are looked at."""

    __slots__ = ("_answer",)

    def __init__(self, answer: _native.Answer) -> None:
        self._answer = answer

    @property
    def ids(self) -> list[PointId]:
        """Ids, best first."""
        return self._answer.ids()

    @property
    def scores(self) -> numpy.ndarray:
        """Scores as an array of float32, [hits]; higher is better for every metric."""
        return self._answer.scores()

    @property
    def estimated_recall(self) -> float | None:
        """The share of the exact nearest points that the hits are expected to hold.

        A lower confidence bound, measured on sample queries; 1 for an exact answer over vectors or words,
        `None` if nothing was measured for such a query yet, or for fused hits. With `rescore` it is about
        the candidates.
        """
        return self._answer.estimated_recall

    @property
    def sequence(self) -> int:
        """Sequence number of the last write that the answer takes into account."""
        return self._answer.sequence

    @property
    def explanation(self) -> Explanation | None:
        """How the answer came about, if `explain=True` asked; of a fusion, of its first query."""
        explanations = self.explanations
        return explanations[0] if explanations else None

    @property
    def explanations(self) -> list[Explanation]:
        """How the answers to the queries of a fusion came about."""
        return [Explanation(Stage(*stage) for stage in stages) for stages in self._answer.explanations()]

    def __len__(self) -> int:
        return len(self._answer)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> list[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | list[Hit]:
        if isinstance(index, slice):
            return [self._hit(at) for at in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"hit {index} of {len(self)}")
        return self._hit(at)

    def _hit(self, at: int) -> Hit:
        score, parts, fragments = self._answer.hit(at)
        hit = Hit._read(parts)
        hit.score = score
        hit.fragments = tuple(Fragment(path, text, tuple(spans)) for path, text, spans in fragments)
        return hit

    def __iter__(self) -> Iterator[Hit]:
        return map(self._hit, range(len(self)))

    def __repr__(self) -> str:
        shown = ",\n ".join(repr(hit) for hit in self[:20])
        more = f",\n … {len(self) - 20} more" if len(self) > 20 else ""
        return f"[{shown}{more}]"

    def _repr_html_(self) -> str:
        from ._html import hits

        return hits(self)


class BatchHits(Sequence[Hits]):
    """The answers to a batch of queries: `ids, scores = collection.batch_query(…)`, or by query.

    `batch[i]` are the hits of query i. `ids` and `scores` are arrays of shape [queries, limit], best
    first in each row; a row with fewer hits ends with the id -1 (`None` where ids are texts) and the
    score `-inf`.
    """

    __slots__ = ("_answers", "_arrays", "_limit")

    def __init__(self, answers: list[_native.BatchAnswer], limit: int) -> None:
        self._answers = answers
        self._limit = limit
        self._arrays: tuple[Any, Any] | None = None

    def _read(self) -> tuple[Any, Any]:
        if self._arrays is None:
            parts = [answer.arrays(self._limit) for answer in self._answers]
            if all(ids is not None for ids, _ in parts):
                ids = np.concatenate([part[0] for part in parts])
            else:
                rows = [answer.id_lists(self._limit) for answer in self._answers]
                ids = np.empty((len(self), self._limit), object)
                for at, row in enumerate(row for part in rows for row in part):
                    ids[at] = row
            self._arrays = (ids, np.concatenate([part[1] for part in parts]))
        return self._arrays

    @property
    def ids(self) -> numpy.ndarray:
        """Ids, [queries, limit]: int64 if all are numbers below 2**63, else objects."""
        ids: numpy.ndarray = self._read()[0]
        return ids

    @property
    def scores(self) -> numpy.ndarray:
        """Scores, [queries, limit] of float32; higher is better for every metric."""
        scores: numpy.ndarray = self._read()[1]
        return scores

    @property
    def estimated_recall(self) -> numpy.ndarray:
        """As `Hits.estimated_recall` for each query, NaN where it is not known."""
        return np.concatenate([answer.estimated_recalls() for answer in self._answers])

    def __len__(self) -> int:
        return sum(len(answer) for answer in self._answers)

    def __iter__(self) -> Iterator[Any]:
        """The two arrays, so that a batch unpacks into `ids, scores`."""
        return iter(self._read())

    @overload
    def __getitem__(self, index: int) -> Hits: ...
    @overload
    def __getitem__(self, index: slice) -> list[Hits]: ...
    def __getitem__(self, index: int | slice) -> Hits | list[Hits]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        for answer in self._answers:
            if 0 <= at < len(answer):
                return Hits(answer.query(at))
            at -= len(answer)
        raise IndexError(f"query {index} of {len(self)}")

    def __repr__(self) -> str:
        return f"BatchHits of {len(self)} queries, ids {list(self.ids.shape)}"


class Group(NamedTuple):
    """Points with the same value of a payload path, as far as they are hits."""

    value: Any
    """The value; a datetime as RFC 3339 text in UTC."""
    hits: Hits
    """The best points with it, best first."""


class Groups(list[Group]):
    """Groups by their best hit."""

    estimated_recall: float | None = None
    """As of `Hits`: the share of a group's exact hits that is expected to be found, as a mean."""
    explanation: Explanation | None = None
    """How the answer came about, if `explain=True` asked."""


class Facets(dict[Any, int]):
    """Number of points by value, the most frequent first. Exact."""

    values_in_all: int = 0
    """Number of different values, those that were not returned included."""
