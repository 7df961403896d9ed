"""Upserts from all that holds vectors, deletions and updates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest

import lanner

Make = Callable[..., lanner.Collection]
VECTORS = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]


def stored(docs: lanner.Collection, field: str = "text") -> list[list[float]]:
    return [point.vectors[field].tolist() for point in docs.scroll(with_vectors=True)]


class Tensor:
    """What tensors of torch have in common with those of this test: they become arrays when detached."""

    def __init__(self, array: np.ndarray, detached: bool = False) -> None:
        self.array, self.detached = array, detached
        self.ndim, self.dtype = array.ndim, "torch.float32"

    def detach(self) -> Tensor:
        return Tensor(self.array, True)

    def cpu(self) -> Tensor:
        return self

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        if not self.detached:
            raise RuntimeError("can't call numpy() on a tensor that requires grad")
        return self.array


class Dlpack:
    """An array that speaks DLPack alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: object) -> object:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> object:
        return self.array.__dlpack_device__()


BASE = np.array(VECTORS, np.float32)
WIDE = np.zeros((3, 8), np.float32)
WIDE[:, ::2] = BASE
READ_ONLY = BASE.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "vectors",
    [
        BASE,
        BASE.astype(np.float16),
        BASE.astype(np.float64),
        BASE.astype(np.int8),
        BASE.astype(">f4"),
        np.asfortranarray(BASE),
        WIDE[:, ::2],
        BASE[::-1][::-1],
        READ_ONLY,
        VECTORS,
        tuple(map(tuple, VECTORS)),
        list(BASE),
        lambda: (row for row in BASE),
        Tensor(BASE),
        [Tensor(row) for row in BASE],
        Dlpack(BASE),
        np.array([list(row) for row in BASE] + [None], object)[:3],
    ],
    ids=[
        "f32", "f16", "f64", "i8", "big-endian", "fortran", "strided", "reversed", "read-only", "lists", "tuples",
        "rows", "generator", "tensor", "tensors", "dlpack", "objects",
    ],
)  # fmt: skip
def test_vectors_of_many_kinds(make: Make, vectors: object) -> None:
    docs = make()
    vectors = vectors() if callable(vectors) else vectors
    assert docs.upsert(ids=[1, 2, 3], vectors={"text": vectors}) == 3
    # Under cosine vectors are stored scaled to length 1.
    assert stored(docs) == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


TOKENS = [np.array([[1.0, 2.0, 3.0]], np.float32), np.array([[4, 5, 6], [7, 8, 9]], np.float32)]
FLAT, OFFSETS = np.concatenate(TOKENS), np.array([0, 1, 3])


@pytest.mark.parametrize(
    "tokens",
    [
        TOKENS,
        [tokens.tolist() for tokens in TOKENS],
        [tokens.astype(np.float16) for tokens in TOKENS],
        [Tensor(tokens) for tokens in TOKENS],
        lanner.Ragged(FLAT, OFFSETS),
        lanner.Ragged(FLAT.tolist(), OFFSETS.tolist()),
        (FLAT.astype(np.float16), OFFSETS.astype(np.uint32)),
    ],
)
def test_multi_vectors_of_many_kinds(make: Make, tokens: object) -> None:
    docs = make()
    docs.upsert(ids=["a", "b"], vectors={"tokens": tokens})
    assert stored(docs, "tokens") == [tokens.tolist() for tokens in TOKENS]


def test_multi_vectors_in_one_array(make: Make, random: np.random.Generator) -> None:
    docs, tokens = make(), random.standard_normal((5, 7, 3)).astype(np.float32)
    docs.upsert(ids=np.arange(5), vectors={"tokens": tokens})
    assert np.array_equal(stored(docs, "tokens"), tokens)


def test_points_may_leave_out_fields(make: Make) -> None:
    docs = make()
    docs.upsert(
        ids=[1, 2, 3], vectors={"text": [VECTORS[0], None, VECTORS[1]], "tokens": [None, TOKENS[1], None]}
    )
    assert [sorted(point.vectors) for point in docs.scroll(with_vectors=True)] == [
        ["text"],
        ["tokens"],
        ["text"],
    ]
    assert docs.query("text", [0, 1, 0, 0]).ids == [3, 1]


@pytest.mark.parametrize(
    "ids",
    [
        [7, 8],
        range(7, 9),
        np.array([7, 8], np.int32),
        np.array([7, 8], np.uint64),
        [np.int64(7), 8],
        ["a", "b"],
        np.array(["a", "b"]),
        np.array(["a", "b"], object),
        [2**64 - 1, 2**63],
        ("a", "b"),
    ],
)
def test_ids_of_many_kinds(make: Make, ids: object) -> None:
    docs = make()
    ids = list(ids) if not isinstance(ids, (np.ndarray, range)) else ids  # type: ignore[call-overload]
    docs.upsert(ids=iter(ids) if isinstance(ids, list) else ids, vectors={"text": BASE[:2]})  # type: ignore[arg-type]
    expected = [one.item() if isinstance(one, np.generic) else one for one in ids]  # type: ignore[attr-defined]
    assert docs.query("text", BASE[0]).ids == expected
    assert [point.id for point in docs.get(expected)] == expected
    assert docs.get(expected[0]).id == expected[0]


def test_a_number_and_a_text_are_different_ids(make: Make) -> None:
    docs = make()
    docs.upsert(ids=[7], vectors={"text": BASE[:1]})
    docs.upsert(ids=["7"], vectors={"text": BASE[1:2]})
    assert len(docs) == 2 and docs.get("7").vectors == {} and docs.get([7, "8"])[0].id == 7
    assert docs.get(9) is None and docs.get([9]) == []


def test_payloads_come_back(make: Make) -> None:
    docs = make()
    payloads = [
        {"title": "Ahoi ☃", "n": 2**60, "nested": {"list": [1, 2.5, None, True]}},
        None,
        {
            "zone": datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))),
            "day": date(2024, 5, 1),
            "numpy": np.float32(0.5),
            "array": np.arange(3),
            "text": np.str_("a"),
            "tuple": (1, "x"),
        },
    ]
    docs.upsert(ids=[1, 2, 3], vectors={"text": BASE}, payloads=payloads)
    assert docs.get(1).payload == payloads[0] and docs.get(2).payload is None
    assert docs.get(3).payload == {
        "zone": "2024-05-01T14:00:00+02:00",
        "day": "2024-05-01",
        "numpy": 0.5,
        "array": [0, 1, 2],
        "text": "a",
        "tuple": [1, "x"],
    }
    assert docs.get(1, with_payload=False).payload is None


def test_points_one_by_one(make: Make) -> None:
    docs = make()
    points = [
        lanner.Point(1, {"text": BASE[0], "tokens": TOKENS[1]}, {"a": 1}),
        {"id": "b", "vectors": {"text": VECTORS[1]}},
        {"id": 1, "vectors": {"text": VECTORS[2]}, "payload": {"a": 2}},
    ]
    assert docs.upsert(iter(points)) == 3
    assert len(docs) == 2 and docs.get(1).payload == {"a": 2}
    again = list(docs.scroll(with_vectors=True))
    docs.delete([1, "b"])
    docs.upsert(again)
    assert list(docs.scroll(with_vectors=True)) == again


def test_a_large_write_is_cut_and_nothing_is_lost(make: Make, random: np.random.Generator) -> None:
    docs = make()
    vectors = random.standard_normal((5_000, 4)).astype(np.float32)
    payloads = [{"n": at, "text": "x" * (at % 50)} for at in range(5_000)]
    tokens = [random.standard_normal((1 + at % 3, 3)).astype(np.float32) for at in range(5_000)]
    some = [None if at % 7 == 0 else row for at, row in enumerate(vectors)]
    columns = {"text": some, "tokens": tokens}
    assert docs.upsert(ids=range(5_000), vectors=columns, payloads=payloads, batch_bytes=20_000) == 5_000
    for point, payload, row, many in zip(docs.scroll(with_vectors=True), payloads, some, tokens):
        assert point.payload == payload and np.array_equal(point.vectors["tokens"], many)
        assert ("text" in point.vectors) == (row is not None)
        if row is not None:
            np.testing.assert_allclose(point.vectors["text"], row / np.linalg.norm(row), rtol=1e-6)


def test_a_stream_of_many_messages(db: lanner.Database, random: np.random.Generator) -> None:
    """So many bytes that a server gets each batch in several messages."""
    docs = db.create_collection("docs", {"v": lanner.vector(1024, "dot", compression=None)})
    vectors = random.standard_normal((5_000, 1024)).astype(np.float32)
    assert docs.upsert(ids=range(5_000), vectors=vectors, durability="buffered") == 5_000
    places = [0, 1023, 1024, 1025, 4_999]
    found = docs.get(places, with_vectors=True)
    assert np.array_equal([point.vectors["v"] for point in found], vectors[places])


def test_deletions(make: Make) -> None:
    docs = make(payload={"n": int})
    docs.upsert(ids=range(10), vectors={"text": np.eye(10, 4) + 1}, payloads=[{"n": at} for at in range(10)])
    assert docs.delete(3) == 1 and docs.delete([4, 5, 99]) == 2
    assert docs.delete(filter=lanner.field("n") >= 8, durability="buffered") == 2
    assert [point.id for point in docs.scroll()] == [0, 1, 2, 6, 7]
    assert docs.delete(np.array([0, 1])) == 2
    for ids, filter in ((None, None), ([1], {"n": 2})):
        with pytest.raises(lanner.InvalidInput, match="ids: expected ids or a filter"):
            docs.delete(ids, filter=filter)
    with pytest.raises(lanner.InvalidInput, match="ids: expected 1 to 100000, got 0"):
        docs.delete([])


def test_updates_of_payloads(make: Make) -> None:
    docs = make(payload={"lang": str})
    docs.upsert(ids=[1, 2], vectors={"text": BASE[:2]}, payloads=[{"lang": "en", "n": 1}, {"lang": "de"}])
    assert docs.update_payloads([1, 9], merge={"n": None, "m": {"k": 2}}) == (1, [9])
    assert docs.get(1).payload == {"lang": "en", "m": {"k": 2}}
    assert docs.update_payloads(filter={"lang": "de"}, set={"lang": "fr"}).affected == 1
    assert docs.update_payloads(1, delete=["m.k"]).affected == 1
    assert [point.payload for point in docs.scroll()] == [{"lang": "en", "m": {}}, {"lang": "fr"}]
    with pytest.raises(lanner.InvalidInput, match="payload.lang: expected a text"):
        docs.update_payloads(1, merge={"lang": 3})
    with pytest.raises(
        lanner.InvalidInput, match="update: expected one of set, merge and delete, got set and merge"
    ):
        docs.update_payloads(1, set={}, merge={})
    with pytest.raises(lanner.InvalidInput, match="merge.a: expected a finite number"):
        docs.update_payloads(1, merge={"a": float("nan")})


def test_updates_of_vectors(make: Make) -> None:
    docs = make()
    docs.upsert(ids=[1, 2], vectors={"text": BASE[:2], "tokens": TOKENS}, payloads=[{"a": 1}, None])
    assert docs.update_vectors([2, 1, 5], {"text": np.stack([BASE[2], BASE[1], BASE[0]])}) == (2, [5])
    assert stored(docs) == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert stored(docs, "tokens") == [tokens.tolist() for tokens in TOKENS] and docs.get(1).payload == {
        "a": 1
    }
    docs.update_vectors([1], {"tokens": [TOKENS[1]]})
    assert stored(docs, "tokens") == [TOKENS[1].tolist(), TOKENS[1].tolist()]
