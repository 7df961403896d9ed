"""Bad input: each a clear exception that names the argument, and nothing of it is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pytest

import lanner

Make = Callable[..., lanner.Collection]
ONE = np.ones((2, 4), np.float32)
TOKENS = [np.ones((2, 3), np.float32), np.ones((1, 3), np.float32)]


def nan(value: float) -> np.ndarray:
    vectors = ONE.copy()
    vectors[1, 2] = value
    return vectors


VECTORS: list[tuple[Any, str]] = [
    (ONE.astype(complex), "vectors.text: expected numbers (float32 or float16; other floats"),
    (np.array([["a", "b", "c", "d"]] * 2), "vectors.text: expected numbers"),
    ([["a", "b", "c", "d"]] * 2, "vectors.text: expected numbers"),
    (np.array([[object()] * 4] * 2), "vectors.text"),
    (ONE > 0, "got an array of bool"),
    (ONE.astype("datetime64[s]"), "got an array of datetime64[s]"),
    (np.ma.masked_array(ONE, mask=ONE > 0), "got a masked array with masked elements"),
    ("text", "vectors.text: expected numbers (float32 or float16; other floats and integers are rounded to float32), "
     "got str 'text'"),
    ({"a": 1}, "vectors.text: expected numbers"),
    (3.0, "vectors.text: expected the shape [points, dimension], got []"),
    (ONE[0], "vectors.text: expected the shape [points, dimension], got [4]"),
    (ONE[None], "vectors.text: expected the shape [points, dimension], got [1, 2, 4]"),
    (ONE[:, :3], "vectors.text: expected 4 dimensions, got 3"),
    ([[1, 2, 3, 4], [1, 2]], "vectors.text[1]: expected 4 values as in [0], got 2"),
    ([ONE[0], ONE[0, :2]], "vectors.text[1]: expected the shape [4] of [0], got [2]"),
    (ONE[:1], "vectors.text: expected vectors of 2 points, got 1"),
    (nan(np.nan), "points[1].vectors.text: expected finite values, got NaN at position 2"),
    (nan(-np.inf), "points[1].vectors.text: expected finite values, got -inf at position 2"),
    (np.full((2, 4), 1e300), "points[0].vectors.text: expected finite values, got inf at position 0"),
    (ONE * 0, "points[0].vectors.text: expected a vector of non-zero length under the cosine metric"),
]  # fmt: skip


@pytest.mark.parametrize(("vectors", "message"), VECTORS)
def test_vectors(make: Make, vectors: Any, message: str) -> None:
    docs = make()
    with pytest.raises(lanner.InvalidInput) as refused:
        docs.upsert(ids=[1, 2], vectors={"text": vectors})
    assert message in str(refused.value)
    assert len(docs) == 0 and not refused.value.stored


MULTI: list[tuple[Any, str]] = [
    (ONE[:, :3], "vectors.tokens: expected a list of [n, dimension] arrays"),
    ([ONE[0], ONE[1]], "vectors.tokens[0]: expected the shape [n, dimension], got [4]"),
    ([TOKENS[0], ONE], "vectors.tokens[1]: expected 3 dimensions as in the first, got 4 dimensions"),
    ([ONE, ONE], "vectors.tokens: expected 3 dimensions, got 4"),
    (
        lanner.Ragged(ONE[:, :3], [0, 1]),
        "vectors.tokens.offsets: expected ascending offsets from 0 to the 2 rows",
    ),
    (lanner.Ragged(ONE[:, :3], [0, 3, 2]), "vectors.tokens.offsets: expected ascending"),
    (lanner.Ragged(ONE[:, :3], [0.0, 1.0, 2.0]), "vectors.tokens.offsets: expected integers"),
    (
        lanner.Ragged(ONE[0], [0, 1, 2]),
        "vectors.tokens.values: expected the shape [vectors, dimension], got [4]",
    ),
    (
        [TOKENS[0], np.empty((0, 3), np.float32)],
        "points[1].vectors.tokens: expected at least one vector, got none",
    ),
    ([TOKENS[0]], "vectors.tokens: expected vectors of 2 points, got 1"),
    (7, "vectors.tokens: expected a list of [n, dimension] arrays, got int"),
]


@pytest.mark.parametrize(("vectors", "message"), MULTI)
def test_multi_vectors(make: Make, vectors: Any, message: str) -> None:
    docs = make()
    with pytest.raises(lanner.InvalidInput) as refused:
        docs.upsert(ids=[1, 2], vectors={"tokens": vectors})
    assert message in str(refused.value)
    assert len(docs) == 0


IDS: list[tuple[Any, str]] = [
    ([1, "a"], "ids[1]: expected ids of one kind, numbers as [0], got a text: 'a'"),
    (["a", 1], "ids[1]: expected ids of one kind, texts as [0], got a number: 1"),
    ([1, -2], "ids[1]: expected an integer from 0 to 2**64 - 1, got -2"),
    (np.array([1, -2]), "ids[1]: expected an integer from 0 to 2**64 - 1, got -2"),
    ([1, 2**64], "ids[1]: expected an integer from 0 to 2**64 - 1"),
    ([1.0, 2.0], "ids[0]: expected a text or an integer"),
    (np.array([1.0, 2.0]), "ids: expected integers or texts, got an array of float64"),
    ([True, False], "ids[0]: expected a text or an integer"),
    ([None, 1], "ids[0]: expected a text or an integer from 0 to 2**64 - 1, got nothing"),
    ([[1], [2]], "ids[0]: expected a text or an integer"),
    (np.array([[1], [2]]), "ids: expected one dimension, got the shape [2, 1]"),
    ([5, 5], "ids[1]: expected each id once, got 5, which is ids[0], too"),
    (["x", "x"], "ids[1]: expected each id once, got 'x', which is ids[0], too"),
    (["", "a"], "points[0].id: expected a text id of 1 to 512 bytes, got 0 bytes"),
    (["a", "x" * 600], "points[1].id: expected a text id of 1 to 512 bytes, got 600 bytes"),
    ("ab", "ids: expected a list or an array of ids, got str 'ab'"),
    (7, "ids: expected a list or an array of ids"),
    (None, "ids: expected ids beside the others, got nothing"),
    ([], "ids: expected at least one point, got none"),
    ([1, 2, 3], "vectors.text: expected vectors of 3 points, got 2"),
]


@pytest.mark.parametrize(("ids", "message"), IDS)
def test_ids(make: Make, ids: Any, message: str) -> None:
    docs = make()
    with pytest.raises(lanner.InvalidInput) as refused:
        docs.upsert(ids=ids, vectors={"text": ONE})
    assert message in str(refused.value)
    assert len(docs) == 0


CYCLE: dict[str, Any] = {}
CYCLE["a"] = CYCLE
PAYLOADS: list[tuple[Any, str]] = [
    ({"a": float("nan")}, "payloads[1].a: expected a finite number, got nan"),
    ({"a": {"b": [1, float("inf")]}}, "payloads[1].a.b[1]: expected a finite number, got inf"),
    ({"a": np.float32("nan")}, "payloads[1].a: expected a finite number, got nan"),
    ({"a": {1, 2}}, "payloads[1].a: expected a value that JSON can hold"),
    ({"a": b"bytes"}, "payloads[1].a: expected a value that JSON can hold"),
    ({"a": 1j}, "payloads[1].a: expected a value that JSON can hold"),
    (
        {"a": [datetime(2024, 5, 1)]},
        "payloads[1].a[0]: expected a datetime with a time zone (tzinfo), got 2024-05-01",
    ),
    ({"a": "\ud800"}, "payloads[1].a: expected Unicode text"),
    ({(1, 2): 3}, "payloads[1]: expected texts as keys, got (1, 2)"),
    (CYCLE, "expected at most 120 levels"),
    ([1], "payloads[1]: expected a dict or None, got list"),
    ("{}", "payloads[1]: expected a dict or None, got str"),
    ({"year": "1851"}, "points[1].payload.year: expected an integer"),
    ({"a": "x" * (1 << 20)}, "points[1].payload: expected at most 1048576 bytes of JSON"),
]


@pytest.mark.parametrize(("payload", "message"), PAYLOADS)
def test_payloads(make: Make, payload: Any, message: str) -> None:
    docs = make(payload={"year": int})
    with pytest.raises(lanner.InvalidInput) as refused:
        docs.upsert(ids=[1, 2], vectors={"text": ONE}, payloads=[{}, payload])
    assert message in str(refused.value)
    assert len(docs) == 0


def test_columns_that_do_not_fit(make: Make) -> None:
    docs = make()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ids": [1, 2]}, "vectors: expected vectors beside the others, got nothing"),
        ({"ids": [1, 2], "vectors": {}}, "vectors: expected at least one vector, got nothing"),
        ({"ids": [1, 2], "vectors": ONE}, "vectors: expected a dict of fields (text, tokens) and arrays"),
        (
            {"ids": [1, 2], "vectors": {"nope": ONE}},
            "vectors: expected the collection's fields (text, tokens)",
        ),
        ({"ids": [1, 2], "vectors": {"text": ONE}, "payloads": [{}]}, "payloads: expected 2 payloads, got 1"),
        ({"points": [], "ids": [1]}, "points: expected points alone, or ids, vectors and payloads, got both"),
        ({"points": []}, "points: expected at least one point, got none"),
        ({"points": 3}, "points: expected an iterable of points or a table, got int"),
        ({"points": [3]}, "points[0]: expected a lanner.Point or a dict, got int"),
        (
            {"points": [{"vectors": {}}]},
            "points[0]: expected the keys 'id', 'vectors' and 'payload', got 'vectors'",
        ),
        ({"points": [{"id": 1, "vector": [1]}]}, "points[0]: expected the keys"),
        ({"points": [{"id": 1, "vectors": {"text": [1, 2]}}]}, "expected 4 dimensions, got 2"),
        ({"points": [{"id": 1, "vectors": {"text": ONE[0]}, "payload": {"a": {1}}}]}, "points[0].payload.a"),
        ({"points": [{"id": -1, "vectors": {"text": ONE[0]}}]}, "points[0].id: expected an integer"),
        (
            {"ids": [1, 2], "vectors": {"text": ONE}, "durability": "now"},
            "durability: expected 'synced' or 'buffered'",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(lanner.InvalidInput) as refused:
            docs.upsert(**arguments)
        assert message in str(refused.value), arguments
    assert len(docs) == 0


def test_what_was_stored_before_a_refusal_is_said(make: Make) -> None:
    docs = make()
    vectors = np.ones((1_000, 4), np.float32)
    vectors[900, 0] = np.nan
    with pytest.raises(lanner.InvalidInput, match=r"^points\[900\].vectors.text: expected finite") as refused:
        docs.upsert(ids=range(1_000), vectors={"text": vectors}, batch_bytes=16 * 300)
    # Batches are whole or not at all.
    assert refused.value.stored == len(docs) > 0 and len(docs) % 150 == 0


def test_bad_arguments_of_open(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(lanner.Error):
        lanner.open(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data").write_text("x")
    with pytest.raises(lanner.FailedPrecondition):
        lanner.open(tmp_path / "other")
    with pytest.raises(lanner.InvalidInput, match="path: expected a text, got bytes"):
        lanner.open(b"db")  # type: ignore[arg-type]
