"""Sparse fields: vectors in all their forms, and queries against the dot product, beside others and alone."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Server

import lanner
from lanner import SparseVector

POINTS = 300
DIMENSIONS = 200
TOP = 2**32 - 1
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
Filter = tuple[Any, Callable[[int], bool]]


def entries(random: np.random.Generator, most: int = 25) -> dict[int, float]:
    """A vector of few entries, mostly of the first dimensions; the last dimension is the last there is."""
    places = (random.random(random.integers(1, most)) ** 2 * DIMENSIONS).astype(int)
    # Few values, so that there are ties, and sums of their products are exact.
    return {TOP if at == 3 else int(at): int(random.integers(1, 9)) / 4 for at in places}


def dense(vectors: list[dict[int, float] | None]) -> np.ndarray:
    """[vectors, dimensions]; the last dimension of 2**32 is the 4th here."""
    matrix = np.zeros((len(vectors), DIMENSIONS))
    for row, vector in zip(matrix, vectors):
        for index, value in (vector or {}).items():
            row[3 if index == TOP else index] = value
    return matrix


class Weights:
    """A collection with the fields `v` and `s`, and what is in it."""

    def __init__(self, db: lanner.Database, random: np.random.Generator) -> None:
        fields = {"v": lanner.vector(4, "dot"), "s": lanner.sparse()}
        self.docs = db.create_collection("docs", fields, {"shelf": int})
        self.random = random
        self.dense = random.standard_normal((POINTS, 4)).astype(np.float32)
        # One in ten has no sparse vector, and one has no entries.
        self.sparse: list[dict[int, float] | None] = [entries(random) for _ in range(POINTS)]
        self.sparse[::10] = [None] * (POINTS // 10)
        self.sparse[5] = {}
        self.deleted: set[int] = set()
        payloads = [{"shelf": at % 7} for at in range(POINTS)]
        vectors = {"v": self.dense, "s": self.sparse}
        assert self.docs.upsert(ids=range(POINTS), vectors=vectors, payloads=payloads) == POINTS

    def scores(
        self, query: dict[int, float], holds: Callable[[int], bool] = lambda at: True
    ) -> dict[int, float]:
        """The oracle: dot products above 0 of the points that are there and allowed."""
        found = enumerate(dense(self.sparse) @ dense([query])[0])
        return {at: score for at, score in found if score > 0 and at not in self.deleted and holds(at)}

    def query(self) -> dict[int, float]:
        return entries(self.random, 40)


@pytest.fixture
def weights(db: lanner.Database, random: np.random.Generator) -> Weights:
    return Weights(db, random)


def best(scores: dict[int, float], limit: int) -> list[int]:
    """Ids by score, of equal ones the smaller first."""
    return sorted(scores, key=lambda at: (-scores[at], at))[:limit]


FILTERS: list[Filter] = [
    (None, lambda at: True),
    (lanner.field("shelf") == 3, lambda at: at % 7 == 3),
    (~lanner.field("shelf").is_in([0, 1]), lambda at: at % 7 > 1),
    (lanner.has_id(*range(40)), lambda at: at < 40),
]


def check(weights: Weights) -> None:
    """Compares queries with the oracle: ids, scores, ties by id."""
    for condition, holds in FILTERS:
        for _ in range(5):
            query = weights.query()
            scores = weights.scores(query, holds)
            for limit, options in ((10, {}), (POINTS, {}), (POINTS, {"exact": True})):
                hits = weights.docs.query("s", query, limit=limit, filter=condition, **options)
                assert hits.ids == best(scores, limit)
                assert hits.scores.tolist() == [scores[at] for at in hits.ids]
                assert hits.estimated_recall == 1.0


def test_hits_are_the_best_by_the_dot_product(weights: Weights) -> None:
    docs = weights.docs
    check(weights)
    docs.flush()
    check(weights)
    gone = list(range(0, POINTS, 4))
    docs.delete(gone)
    weights.deleted.update(gone)
    for at in range(1, POINTS, 9):
        weights.sparse[at] = entries(weights.random)
        weights.deleted.discard(at)
    changed = range(1, POINTS, 9)
    docs.upsert(
        ids=changed,
        vectors={"s": [weights.sparse[at] for at in changed], "v": weights.dense[1::9]},
        payloads=[{"shelf": at % 7} for at in changed],
    )
    check(weights)
    docs.optimize()
    check(weights)
    explained = docs.explain("s", weights.query())
    assert explained[0].name == "search" and explained[0].source.startswith("inverted index, ")


def test_vectors_come_back_as_they_were_written(weights: Weights) -> None:
    docs = weights.docs
    for _ in range(2):
        points = docs.get(range(POINTS), with_vectors=True)
        for point, given in zip(points, weights.sparse):
            found = point.vectors.get("s")
            assert (found is None) == (given is None)
            if given is not None:
                assert isinstance(found, SparseVector) and found == SparseVector(given)
                assert found.to_dict() == dict(sorted(given.items()))
                assert not found.indices.flags.writeable and found.indices.dtype == np.uint32
        docs.flush()
    hit = docs.query("s", weights.sparse[7], with_vectors=True)[0]
    assert hit.vectors["s"] == SparseVector(docs.get(hit.id, with_vectors=True).vectors["s"].to_dict())
    assert f"'s': '{len(hit.vectors['s'])} entries'" in repr(hit)
    # Points that were read are points to write.
    before = docs.get(range(POINTS), with_vectors=True)
    assert docs.upsert(docs.scroll(with_vectors=True)) == POINTS
    after = docs.get(range(POINTS), with_vectors=True)
    assert after == before and after[7] != after[8]
    after[7].vectors["s"] = SparseVector({1: 9.0})
    assert after[7] != before[7]


def test_updates(weights: Weights) -> None:
    vectors = {"s": [{5: 2.0}, None, {5: 1.0}], "v": [None, [1, 0, 0, 0], None]}
    receipt = weights.docs.update_vectors([7, 8, 9_999], vectors)
    assert receipt.affected == 2 and receipt.missing == [9_999]
    weights.sparse[7] = {5: 2.0}
    check(weights)
    first, second = weights.docs.get([7, 8], with_vectors=True)
    assert first.vectors["v"].tolist() == weights.dense[7].tolist()
    assert second.vectors["s"] == SparseVector(weights.sparse[8] or {})
    assert second.vectors["v"].tolist() == [1, 0, 0, 0]


FIELDS = [lanner.sparse(), lanner.sparse(memory="pinned"), lanner.sparse(memory="cold")]


@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_settings_come_back_as_they_were_given(db: lanner.Database, field: lanner.Field) -> None:
    docs = db.create_collection("docs", {"s": field})
    assert docs.fields == {"s": field} and hash(docs.fields["s"]) == hash(field)
    assert eval(repr(docs.fields["s"]), {"lanner": lanner}) == field
    assert db.create_collection("docs", {"s": field}, exist_ok=True).name == "docs"
    with pytest.raises(lanner.AlreadyExists):
        db.create_collection("docs", {"s": lanner.vector(2)}, exist_ok=True)
    assert repr(field) in repr(docs.info())
    assert "<td>s</td><td>sparse</td><td></td><td>dot</td>" in docs._repr_html_()


def test_settings_are_shown_as_they_are_written() -> None:
    assert [repr(field) for field in FIELDS] == [
        "lanner.sparse()",
        "lanner.sparse(memory='pinned')",
        "lanner.sparse(memory='cold')",
    ]
    assert FIELDS[0] == lanner.sparse() != FIELDS[1] and lanner.sparse() != lanner.multivector(1)
    assert (FIELDS[0].kind, FIELDS[0].metric, FIELDS[0].dimension) == ("sparse", "dot", 0)
    assert FIELDS[0].compression == FIELDS[0].index == "auto"


# Settings that `lanner.sparse` does not give.
BAD_SETTINGS: list[tuple[dict[str, Any], str]] = [
    (
        {"dimension": 3},
        "dimension: expected none for a sparse field, whose indices may be any of 32 bits, got 3",
    ),
    ({"metric": "cosine"}, "metric: expected dot for a sparse field, got cosine"),
    ({"element": "f16"}, "element: expected f32 for a sparse field, got f16"),
    (
        {"compression": "lvq8"},
        "compression: expected `auto` or `none` for a sparse field, which has an inverted index, got lvq8",
    ),
    ({"index": "graph"}, "index: expected `auto` for a sparse field, which has an inverted index, got graph"),
    ({"memory": "warm"}, "memory: expected"),
]


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS)
def test_bad_settings_are_named(db: lanner.Database, settings: dict[str, Any], message: str) -> None:
    field = lanner.Field(**{**lanner.sparse()._settings(), **settings})
    with pytest.raises(lanner.InvalidInput) as refused:
        db.create_collection("docs", {"s": field})
    assert str(refused.value).startswith(f"fields.s.{message}")
    assert list(db) == []


def test_vectors_are_values() -> None:
    vector = SparseVector([30_000, 7, 9], [0.1, 1.5, 0])
    assert vector.indices.tolist() == [7, 30_000] and vector.indices.dtype == np.uint32
    assert vector.values.tolist() == [1.5, np.float32(0.1)] and vector.values.dtype == np.float32
    assert len(vector) == 2 and vector.to_dict() == {7: 1.5, 30_000: float(np.float32(0.1))}
    assert repr(vector) == "lanner.SparseVector([7, 30000], [1.5, 0.1])"
    assert eval(repr(vector), {"lanner": lanner}) == vector != SparseVector({7: 1.5, 30_000: 0.2})
    assert vector != vector.to_dict() and vector != SparseVector({7: 1.5})
    assert len({vector, SparseVector(vector), SparseVector({7: 1.5, 30_000: 0.1})}) == 1
    assert pickle.loads(pickle.dumps(vector)) == vector == copy.deepcopy(vector)
    long = SparseVector(range(10), np.full(10, 0.5))
    assert repr(long) == (
        "lanner.SparseVector([0, 1, 2, 3, 4, 5, 6, 7, …], [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, …], 10 entries)"
    )
    for change in (lambda: setattr(vector, "values", 0), lambda: delattr(vector, "values")):
        with pytest.raises(AttributeError, match="a sparse vector does not change"):
            change()
    for array in (vector.indices, vector.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    given = np.array([1, 2], np.uint32), np.array([1, 2], np.float32)
    SparseVector(*given)
    assert all(array.flags.writeable for array in given)


FORMS: dict[str, Callable[[], Any]] = {
    "lists": lambda: SparseVector([TOP, 7], [0.25, 1.5]),
    "tuples": lambda: SparseVector((TOP, 7), (0.25, 1.5)),
    "arrays": lambda: SparseVector(np.array([TOP, 7]), np.array([0.25, 1.5])),
    "strided arrays": lambda: SparseVector(np.array([7, 1, TOP])[::-2], np.array([1.5, 1, 0.25])[::-2]),
    "other types": lambda: SparseVector(np.array([TOP, 7], ">u8"), np.array([0.25, 1.5], np.float16)),
    "views of a dict": lambda: SparseVector({TOP: 0.25, 7: 1.5}.keys(), {TOP: 0.25, 7: 1.5}.values()),
    "a dict": lambda: {TOP: 0.25, 7: 1.5},
    "a dict of numpy": lambda: {np.int64(TOP): np.float32(0.25), np.int64(7): np.float32(1.5)},
    "a dict of JSON": lambda: {str(TOP): 0.25, "7": 1.5},
    "a dict of lists": lambda: {"indices": [TOP, 7], "values": [0.25, 1.5]},
    "an object": lambda: SimpleNamespace(indices=[TOP, 7], values=np.array([0.25, 1.5])),
    "with zeros": lambda: {TOP: 0.25, 7: 1.5, 8: 0, 9: -0.0},
}
VECTOR = SparseVector([7, TOP], [1.5, 0.25])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms_of_a_vector(db: lanner.Database, form: Callable[[], Any]) -> None:
    assert SparseVector(form()) == VECTOR
    docs = db.create_collection("docs", {"s": lanner.sparse()})
    docs.upsert(ids=[1, 2], vectors=[form(), {8: 1.0}])
    docs.upsert(
        [{"id": 3, "vectors": {"s": form()}}, lanner.Point(4, {"s": form()}), lanner.Point(5, {"s": {1: 1}})]
    )
    for point in docs.get([1, 3, 4], with_vectors=True):
        assert point.vectors["s"] == VECTOR
    expected = [2.3125] * 3
    hits = docs.query("s", form())
    assert hits.ids == [1, 3, 4] and hits.scores.tolist() == expected
    assert docs.batch_query("s", [form(), {8: 2.0}], limit=3).ids.tolist() == [[1, 3, 4], [2, -1, -1]]
    assert docs.fuse([lanner.Search("s", form())]).ids == [1, 3, 4]
    rescored = docs.query("s", {7: 1.0, 8: 9.0}, rescore=lanner.Rescore("s", form()))
    assert rescored.ids[:3] == [1, 3, 4] and rescored.scores[:3].tolist() == expected


# Points may lack vectors.
SPARSE_AND_WORDS = {"s": lanner.sparse(), "words": lanner.text("text")}


def test_pairs_are_vectors_in_lists(db: lanner.Database) -> None:
    docs = db.create_collection("docs", SPARSE_AND_WORDS)
    docs.upsert(ids=range(3), vectors=[([TOP, 7], [0.25, 1.5]), (np.array([], int), []), None])
    points = docs.get(range(3), with_vectors=True)
    assert [point.vectors.get("s") for point in points] == [VECTOR, SparseVector({}), None]
    assert docs.batch_query("s", [([7], [2])], limit=1).scores.tolist() == [[3.0]]


MATRICES = ["csr", "csc", "coo", "dok", "lil", "bsr"]


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("layout", MATRICES)
def test_matrices_of_scipy(db: lanner.Database, random: np.random.Generator, layout: str, kind: str) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    values = random.random((POINTS, 60)) * (random.random((POINTS, 60)) < 0.1)
    values[40] = 0
    matrix = getattr(scipy, f"{layout}_{kind}")(values)
    docs = db.create_collection("docs", {"s": lanner.sparse()})
    docs.upsert(ids=range(POINTS), vectors={"s": matrix})
    queries = matrix.tocsr()[:30]
    ids, scores = docs.batch_query("s", getattr(queries, f"to{layout}")(), limit=20)
    expected = queries.astype(np.float32).toarray() @ values.T.astype(np.float32)
    for at, product in enumerate(expected):
        number = min(20, np.count_nonzero(product))
        np.testing.assert_allclose(scores[at][:number], np.sort(product)[::-1][:number], **CLOSE)
        np.testing.assert_allclose(scores[at][:number], product[ids[at][:number]], **CLOSE)
        alone = docs.query("s", queries[at : at + 1], limit=20)
        assert alone.scores.tolist() == scores[at][:number].tolist()
    assert docs.get(40, with_vectors=True).vectors["s"] == SparseVector({})


def test_rows_of_scipy_are_vectors(db: lanner.Database) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    docs = db.create_collection("docs", SPARSE_AND_WORDS)
    # Entries that come twice are added, as scipy does; in their order or not.
    twice = scipy.csr_array((np.ones(4), np.array([2, 0, 2, 1]), np.array([0, 3, 4])), shape=(2, 3))
    flat = scipy.coo_array([0, 1.0, 2.0])
    rows = [twice[[0]], None, flat, scipy.csr_matrix([[0, 1.0, 2.0]])]
    docs.upsert(ids=range(4), vectors=rows)
    found = [point.vectors.get("s") for point in docs.get(range(4), with_vectors=True)]
    expected = SparseVector({1: 1.0, 2: 2.0})
    assert found == [SparseVector({0: 1.0, 2: 2.0}), None, expected, expected]
    docs.upsert(ids=range(2), vectors=twice)
    assert docs.get(0, with_vectors=True).vectors["s"] == found[0]
    assert twice.data.tolist() == [1, 1, 1, 1]
    assert docs.query("s", flat).ids == [2, 3, 0, 1]


class Tensor:
    """A sparse tensor with the interface of torch."""

    is_sparse = True
    layout = "torch.sparse_coo"

    def __init__(self, indices: Any, values: Any, shape: tuple[int, ...], coalesced: bool = False) -> None:
        self._indices, self._values, self.shape = np.array(indices), np.array(values, np.float32), shape
        self._coalesced = coalesced

    def detach(self) -> Tensor:
        return self

    cpu = detach

    def coalesce(self) -> Tensor:
        places, where = np.unique(self._indices, axis=1, return_inverse=True)
        return Tensor(places, np.bincount(where.ravel(), self._values), self.shape, True)

    def indices(self) -> np.ndarray:
        assert self._coalesced
        return self._indices

    def values(self) -> np.ndarray:
        assert self._coalesced
        return self._values


class CompressedTensor(Tensor):
    """The same in another layout."""

    is_sparse = False
    layout = "torch.sparse_csr"

    def coalesce(self) -> Tensor:
        raise AssertionError("only COO tensors are coalesced")

    def to_sparse_coo(self) -> Tensor:
        return Tensor(self._indices, self._values, self.shape)


class ColumnTensor(CompressedTensor):
    """The same in the order of columns, which torch keeps."""

    layout = "torch.sparse_csc"

    def to_sparse_coo(self) -> Tensor:
        made = Tensor(self._indices, self._values, self.shape).coalesce()
        order = np.argsort(made._indices[-1], kind="stable")
        made._indices, made._values = made._indices[:, order], made._values[order]
        made.coalesce = lambda: made  # type: ignore[method-assign]
        return made


@pytest.mark.parametrize("make", [Tensor, CompressedTensor, ColumnTensor, "coo", "csr", "csc"])
def test_tensors(db: lanner.Database, make: Any) -> None:
    def tensor(indices: Any, values: Any, shape: tuple[int, ...]) -> Any:
        if not isinstance(make, str):
            return make(indices, values, shape)
        torch = pytest.importorskip("torch")
        if getattr(torch, "__file__", None) is None:
            pytest.skip("torch is a stand-in: its CPU wheel is not installed")
        made = torch.sparse_coo_tensor(indices, values, shape).requires_grad_()
        if make == "coo" or len(shape) == 1:
            return made
        return made.to_dense().to_sparse_csr() if make == "csr" else made.to_dense().to_sparse_csc()

    docs = db.create_collection("docs", {"s": lanner.sparse()})
    # Row 1 is empty, and an entry of row 2 comes twice.
    matrix = tensor([[2, 0, 2, 2], [5, 9, 5, 1]], [1.0, 2.0, 0.5, 4.0], (4, 30))
    docs.upsert(ids=range(4), vectors=matrix)
    found = [point.vectors["s"].to_dict() for point in docs.get(range(4), with_vectors=True)]
    assert found == [{9: 2.0}, {}, {1: 4.0, 5: 1.5}, {}]
    row = tensor([[5, 9]], [1.0, 0.25], (30,))
    assert docs.query("s", row).scores.tolist() == [1.5, 0.5]
    assert docs.batch_query("s", [row], limit=2).ids.tolist() == [[2, 0]]
    queries = tensor([[0, 1, 1], [1, 9, 9]], [1.0, 1.0, 1.0], (2, 30))
    assert docs.batch_query("s", queries, limit=2).scores.tolist() == [[4.0, -math.inf], [4.0, -math.inf]]


STRUCTS = [
    {"indices": [TOP, 7], "values": [0.25, 1.5]},
    None,
    {"indices": [], "values": []},
    {"indices": [8], "values": [1.0]},
]


def arrow_structs(large: bool, index: str) -> Any:
    arrow = pytest.importorskip("pyarrow")
    many = arrow.large_list if large else arrow.list_
    struct = arrow.struct([("values", many(arrow.float64())), ("indices", many(getattr(arrow, index)()))])
    # Two chunks, of which one begins in the midst of an array.
    structs = arrow.array([STRUCTS[3], *STRUCTS], struct)
    return arrow.chunked_array([structs[1:3], structs[3:]])


def masked_structs() -> Any:
    """Structs of which one is null, and its lists are not."""
    arrow = pytest.importorskip("pyarrow")
    lists = arrow.array([[TOP, 7], [1, 2, 3], [], [8]]), arrow.array([[0.25, 1.5], [9.0], [], [1.0]])
    mask = arrow.array([False, True, False, False])
    return arrow.StructArray.from_arrays(lists, ["indices", "values"], mask=mask)


def pandas_column(column: Callable[[Any], Any]) -> Any:
    return column(pytest.importorskip("pandas"))


TABLES: dict[str, Callable[[], Any]] = {
    "arrow": lambda: pytest.importorskip("pyarrow").table(
        {"id": range(4), "s": arrow_structs(False, "uint32")}
    ),
    "arrow-large": lambda: pytest.importorskip("pyarrow").table(
        {"id": range(4), "s": arrow_structs(True, "int64")}
    ),
    "arrow-masked": lambda: pytest.importorskip("pyarrow").table({"id": range(4), "s": masked_structs()}),
    "pandas": lambda: pandas_column(lambda pandas: pandas.DataFrame({"id": range(4), "s": STRUCTS})),
    "pandas-vectors": lambda: pandas_column(
        lambda pandas: pandas.DataFrame({"id": range(4), "s": [VECTOR, math.nan, {}, {8: 1}]})
    ),
    "polars": lambda: pytest.importorskip("polars").DataFrame({"id": range(4), "s": STRUCTS}),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables(db: lanner.Database, table: Callable[[], Any]) -> None:
    docs, made = db.create_collection("docs", {"s": lanner.sparse()}), table()
    for write in (lambda: docs.upsert(made), lambda: docs.upsert(ids=made["id"], vectors={"s": made["s"]})):
        with pytest.raises(lanner.InvalidInput, match=r"points\[1\].vectors: expected at least one vector"):
            write()
    mixed = db.create_collection("mixed", SPARSE_AND_WORDS)
    for write in (lambda: mixed.upsert(made), lambda: mixed.upsert(ids=made["id"], vectors={"s": made["s"]})):
        assert write() == 4
        found = [point.vectors.get("s") for point in mixed.get(range(4), with_vectors=True)]
        assert found == [VECTOR, None, SparseVector({}), SparseVector({8: 1.0})]
        mixed.delete(range(4))


def test_a_table_is_no_column(db: lanner.Database) -> None:
    pandas = pytest.importorskip("pandas")
    docs = db.create_collection("docs", {"s": lanner.sparse()})
    with pytest.raises(
        lanner.InvalidInput, match=r"^vectors.s\[0\]: expected a sparse vector .*, got str 'a'$"
    ):
        docs.upsert(ids=[1], vectors={"s": pandas.DataFrame({"a": [1.0]})})


def test_results_are_columns_of_tables(weights: Weights) -> None:
    pandas = pytest.importorskip("pandas")
    points = weights.docs.scroll(with_vectors=True)
    frame = pandas.DataFrame([{"id": point.id, **point.vectors, **(point.payload or {})} for point in points])
    weights.docs.delete(range(POINTS))
    assert weights.docs.upsert(frame) == POINTS
    check(weights)


def test_large_columns_are_cut(db: lanner.Database) -> None:
    docs = db.create_collection("docs", {"s": lanner.sparse()})
    vectors = [{at: 1.0, TOP: 0.5} for at in range(2_500)]
    docs.upsert(ids=range(2_500), vectors=vectors, batch_bytes=32 * 400)
    assert docs.query("s", {1_700: 1.0}).ids == [1_700]
    ids, _ = docs.batch_query("s", vectors, limit=1)
    assert ids[:, 0].tolist() == list(range(2_500))
    vectors[2_100] = {1: -1.0}
    negative = "expected values of 0 or more, since indexes skip entries by the largest, got -1 at position 0"
    with pytest.raises(lanner.InvalidInput) as refused:
        docs.upsert(ids=range(2_500), vectors=vectors, batch_bytes=32 * 400)
    assert str(refused.value) == f"points[2100].vectors.s.values: {negative}"
    assert refused.value.stored == 2_000
    with pytest.raises(lanner.InvalidInput) as refused:
        docs.batch_query("s", vectors)
    assert str(refused.value) == f"queries[2100].values: {negative}"
    streamed = (lanner.Point(at, {"s": vector}) for at, vector in enumerate(vectors))
    with pytest.raises(lanner.InvalidInput) as refused:
        docs.upsert(streamed, batch_bytes=16 * 300)
    assert str(refused.value) == f"points[2100].vectors.s.values: {negative}"
    assert refused.value.stored == 2_100


def test_updates_in_several_batches_name_the_point(db: lanner.Database) -> None:
    docs = db.create_collection("docs", {"s": lanner.sparse()})
    docs.upsert(ids=[1], vectors=[{1: 1.0}])
    vectors = [{1: 1.0}] * 20_003
    vectors[20_001] = {1: math.inf}
    with pytest.raises(
        lanner.InvalidInput, match=r"^points\[20001\].vectors.s.values: expected finite values, got inf"
    ):
        docs.update_vectors(range(20_003), vectors)


def test_beside_others(weights: Weights) -> None:
    docs, query, vector = weights.docs, weights.query(), weights.dense[3]
    scores = weights.scores(query)
    sparse = lanner.Search("s", SparseVector(query), limit=30)
    similar = docs.query("v", vector, limit=20)
    fused: dict[int, float] = {}
    for ids in (best(scores, 30), similar.ids):
        for rank, at in enumerate(ids):
            fused[at] = fused.get(at, 0.0) + 1 / (61 + rank)
    hits = docs.fuse([sparse, lanner.Search("v", vector, limit=20)], limit=15)
    np.testing.assert_allclose(hits.scores, [fused[at] for at in best(fused, 15)], **CLOSE)
    np.testing.assert_allclose(hits.scores, [fused[at] for at in hits.ids], **CLOSE)
    # The least score of a sparse vector is 0.
    highest = max(scores.values())
    hits = docs.fuse([sparse], scores="theoretical-min-max", limit=30)
    np.testing.assert_allclose(hits.scores, [scores[at] / highest for at in hits.ids], **CLOSE)

    near = set(docs.query("v", vector, limit=80, exact=True).ids)
    found = {at: score for at, score in scores.items() if at in near}
    assert 5 < len(found) < 80
    for rescored in (
        docs.rescore("v", vector, "s", query, candidates=80),
        docs.query("v", vector, rescore=lanner.Rescore("s", SparseVector(query), 80), exact=True),
    ):
        assert rescored.scores.tolist() == [found[at] for at in best(found, 10)]
    candidates = best(scores, 40)
    order = docs.query("v", vector, limit=POINTS, exact=True).ids
    expected = [at for at in order if at in candidates][:10]
    assert docs.rescore("s", query, "v", vector, candidates=40).ids == expected

    of_shelf: dict[int, list[int]] = {}
    for at in best(scores, POINTS):
        of_shelf.setdefault(at % 7, []).append(at)
    groups = docs.query_groups("s", query, by="shelf", group_size=2, limit=4)
    assert [(group.value, group.hits.ids) for group in groups] == [
        (shelf, points[:2]) for shelf, points in list(of_shelf.items())[:4]
    ]


def test_thresholds_offsets_and_points(weights: Weights) -> None:
    docs, query = weights.docs, weights.query()
    scores = weights.scores(query)
    ids = best(scores, 12)
    assert docs.query("s", query, limit=5, offset=7).ids == ids[7:]
    least = scores[ids[4]]
    passed = [at for at in best(scores, POINTS) if scores[at] >= least]
    assert docs.query("s", query, limit=POINTS, score_threshold=least).ids == passed
    assert weights.sparse[7]
    like = weights.scores(weights.sparse[7])
    assert docs.query("s", id=7, limit=10).ids == [at for at in best(like, 11) if at != 7][:10]


A_VECTOR = (
    "expected a sparse vector (lanner.SparseVector, a dict {index: value} or {'indices': […], 'values': […]}, "
    "a sparse row of scipy or torch), got "
)
INDEX = "indices: expected integers from 0 to 2**32 - 1, got "
NUMBERS = "expected numbers (float32 or float16; other floats and integers are rounded to float32), got "
# Arguments of `SparseVector`, and what is wrong with them.
BAD_VECTORS: list[tuple[tuple[Any, ...], str]] = [
    (([1, 2, 3], [1.0]), "values: expected as many values as indices, got 1 values for 3 indices"),
    (([4, 1, 4], [1, 1, 1]), "indices: expected each index once, got 4 twice"),
    (([1, 2], [1, math.nan]), "values: expected finite values, got NaN at position 1"),
    (([1, 2], [1e300, 1]), "values: expected finite values, got inf at position 0"),
    (
        ([1, 2], [1, -0.5]),
        "values: expected values of 0 or more, since indexes skip entries by the largest, got -0.5 at position 1",
    ),
    (([1, 2], [8e17, 8e17]), "values: expected vectors of a length up to 1e18, got 1.131e18 in vector 0"),
    ((range(65_536), np.ones(65_536)), "entries: expected 0 to 65535, got 65536"),
    (([-1], [1]), f"{INDEX}-1 at position 0"),
    (([1, 1 << 32], [1, 1]), f"{INDEX}4294967296 at position 1"),
    (([1 << 70], [1]), f"{INDEX}int '{1 << 70}'"),
    (([1.0], [1]), f"{INDEX}float '1.0'"),
    ((np.ones(1), [1]), f"{INDEX}an array of float64"),
    (([True], [1]), f"{INDEX}bool 'True'"),
    ((["the"], [1]), f"{INDEX}str 'the'"),
    (({"the": 1.0},), f"{INDEX}str 'the'"),
    (("7", [1]), f"{INDEX}str '7'"),
    (({"7": 1.0, 7: 2.0},), "indices: expected each index once, got 7 twice"),
    (([[1]], [1]), "indices: expected the shape [entries], got [1, 1]"),
    (([1], [[1]]), "values: expected the shape [entries], got [1, 1]"),
    (([1], ["a"]), f"values[0]: {NUMBERS}str 'a'"),
    (([1], [True]), f"values: {NUMBERS}an array of bool"),
    (({1: None},), f"values[0]: {NUMBERS}nothing"),
    (([1, 2],), f"vector: {A_VECTOR}list '[1, 2]'"),
    ((7,), f"vector: {A_VECTOR}int '7'"),
    ((None,), f"vector: {A_VECTOR}nothing"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_VECTORS)
def test_bad_vectors(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(lanner.InvalidInput) as refused:
        SparseVector(*arguments)
    assert str(refused.value) == message


MANY = "vectors.s: expected a list of sparse vectors, or a sparse matrix of scipy or torch [points, dimensions], got "
BAD_COLUMNS: list[tuple[Any, str]] = [
    (np.ones((2, 4)), f"{MANY}an array of float64"),
    ({1: 1.0}, f"{MANY}dict '{{1: 1.0}}'"),
    (VECTOR, f"{MANY}SparseVector 'lanner.SparseVector([7, 4294967295], [1.'"),
    ("text", f"{MANY}str 'text'"),
    (7, f"{MANY}int '7'"),
    ([{1: 1.0}], "vectors.s: expected vectors of 2 points, got 1"),
    ([{1: 1.0}, [1.0, 2.0]], f"vectors.s[1]: {A_VECTOR}list '[1.0, 2.0]'"),
    ([{1: 1.0}, 3], f"vectors.s[1]: {A_VECTOR}int '3'"),
    ([{1: 1.0}, {-1: 1.0}], f"vectors.s[1].{INDEX}-1 at position 0"),
    (
        [{1: 1.0}, ([1, 2], [1])],
        "vectors.s[1].values: expected as many values as indices, got 1 values for 2 indices",
    ),
    (
        [{1: 1.0}, {"indices": [1], "values": [1, 2]}],
        "vectors.s[1].values: expected as many values as indices, got 2 values for 1 indices",
    ),
    ([{1: 1.0}, {1: math.nan}], "points[1].vectors.s.values: expected finite values, got NaN at position 0"),
    ([{1: 1.0}, ([3, 3], [1, 2])], "points[1].vectors.s.indices: expected each index once, got 3 twice"),
]


@pytest.mark.parametrize(("vectors", "message"), BAD_COLUMNS)
def test_bad_columns(db: lanner.Database, vectors: Any, message: str) -> None:
    docs = db.create_collection("docs", {"s": lanner.sparse()})
    for write in (docs.upsert, docs.update_vectors):
        with pytest.raises(lanner.InvalidInput) as refused:
            write(ids=[1, 2], vectors={"s": vectors})
        assert str(refused.value) == message
    assert len(docs) == 0


def test_bad_structs(db: lanner.Database) -> None:
    arrow = pytest.importorskip("pyarrow")
    docs = db.create_collection("docs", {"s": lanner.sparse()})
    parts = arrow.struct([("indices", arrow.list_(arrow.int64())), ("values", arrow.list_(arrow.float32()))])
    cases = [
        (arrow.array([{"a": 1}]), "vectors.s: expected structs of the lists indices and values, got a"),
        (
            arrow.array([{"indices": 1, "values": 2.0}]),
            "vectors.s.indices: expected lists of numbers, got int64",
        ),
        (
            arrow.array([None, {"indices": None, "values": [1]}], parts),
            "vectors.s[1].indices: expected a list of numbers, got nothing",
        ),
        (
            arrow.array([{"indices": [1], "values": [None]}], parts),
            "vectors.s.values: expected numbers, got 1 nulls",
        ),
        (
            arrow.array([None, {"indices": [1], "values": [1, 2]}], parts),
            "vectors.s[1].values: expected as many values as indices, got 2 values for 1 indices",
        ),
        (arrow.array([{"indices": [-4], "values": [1]}], parts), f"vectors.s.{INDEX}-4 at position 0"),
        (arrow.array([1.5]), f"vectors.s[0]: {A_VECTOR}float '1.5'"),
    ]
    for column, message in cases:
        with pytest.raises(lanner.InvalidInput) as refused:
            docs.upsert(ids=range(len(column)), vectors={"s": column})
        assert str(refused.value) == message
    assert len(docs) == 0


def test_arguments_are_named(weights: Weights) -> None:
    docs, vector = weights.docs, weights.dense[0]
    entry = "vector: expected at least one entry above 0, got nothing"
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: docs.query("s", {}), entry),
        (lambda: docs.query("s", SparseVector([], [])), entry),
        (lambda: docs.batch_query("s", [{1: 1.0}, {}]), f"queries[1].{entry}"),
        (lambda: docs.query("s", {-1: 1.0}), f"query.{INDEX}-1 at position 0"),
        (
            lambda: docs.query("s", {1: math.nan}),
            "query.values: expected finite values, got NaN at position 0",
        ),
        (lambda: docs.query("s", vector), "vector: expected a sparse vector, got a single vector"),
        (
            lambda: docs.query("s", "words"),
            "query: expected a vector or points, for a vector field, got words",
        ),
        (lambda: docs.query("v", {1: 1.0}), "vector: expected a single vector, got a sparse vector"),
        (
            lambda: docs.rescore("v", vector, "s", {1: -1.0}),
            "rescore.query.values: expected values of 0 or more, since indexes skip entries by the largest, "
            "got -1 at position 0",
        ),
        (
            lambda: docs.batch_query("s", [{1: 1.0}, None]),
            "queries: expected a vector for each query, got None",
        ),
        (lambda: docs.batch_query("s", [{1: 1.0}, 3]), f"queries[1]: {A_VECTOR}int '3'"),
        (lambda: docs.batch_query("s", []), "queries: expected at least one query, got none"),
        (lambda: docs.batch_query("s", vector), "queries: expected a list of sparse vectors"),
        (lambda: docs.upsert(ids=[1], vectors={"v": [VECTOR]}), f"vectors.v[0]: {NUMBERS}SparseVector"),
        (
            lambda: docs.recommend("s", [7]),
            "field: expected a single-vector field to recommend from, got a sparse field",
        ),
        (
            lambda: docs.train("s", [{1: 1.0}]),
            "queries: expected none for a sparse field, which has nothing to train, got some",
        ),
    ]
    for call, message in cases:
        with pytest.raises(lanner.InvalidInput) as refused:
            call()
        assert str(refused.value).startswith(message), message


def test_sparse_matrices_are_for_sparse_fields(weights: Weights) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    docs, matrix = weights.docs, scipy.coo_array(np.eye(4))
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: docs.upsert(ids=range(4), vectors={"v": matrix}), f"vectors.v: {NUMBERS}coo_array"),
        (lambda: docs.batch_query("v", matrix), f"queries: {NUMBERS}coo_array"),
        (
            lambda: docs.query("s", matrix),
            "query: expected the shape [dimensions] or [1, dimensions], got [4, 4]",
        ),
        (
            lambda: docs.upsert(ids=[1], vectors={"s": scipy.coo_array([0, 1.0])}),
            "vectors.s: expected the shape ",
        ),
        (
            lambda: docs.upsert(ids=range(4), vectors={"s": matrix > 0}),
            f"vectors.s.values: {NUMBERS}an array of bool",
        ),
    ]
    for call, message in cases:
        with pytest.raises(lanner.InvalidInput) as refused:
            call()
        assert str(refused.value).startswith(message), message


def test_coroutines(server: Server) -> None:
    async def main() -> None:
        async with await lanner.connect_async(server.address) as db:
            for found in await db.list():
                await db.drop(found.name)
            docs = await db.create_collection("docs", {"s": lanner.sparse()})
            await docs.upsert(ids=[1, 2, 3], vectors=[{1: 1.0}, {1: 2.0, 5: 1.0}, VECTOR])
            found = await asyncio.gather(*(docs.query("s", query) for query in ({1: 1.0}, {5: 1.0}, VECTOR)))
            assert [hits.ids for hits in found] == [[2, 1], [2], [3]]
            ids, _ = await docs.batch_query("s", [{1: 1.0}, VECTOR], limit=1)
            assert ids.tolist() == [[2], [3]]
            assert (await docs.update_vectors([1], [{1: 3.0}])).affected == 1
            assert (await docs.get(1, with_vectors=True)).vectors["s"] == SparseVector({1: 3.0})

    asyncio.run(main())
