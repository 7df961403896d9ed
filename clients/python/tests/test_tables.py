"""DataFrames and Arrow tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lanner

Make = Callable[..., lanner.Collection]

TEXT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], np.float32)
TOKENS = [[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], [[0.5, 0.5, 0.5]]]
YEARS = [1851, None, 1815]
TITLES = ["Moby-Dick", "Dracula", None]


def pandas_table() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(
        {
            "id": ["a", "b", "c"],
            "text": list(TEXT),
            "tokens": TOKENS,
            "year": pandas.array(YEARS, dtype="Int64"),
            "title": TITLES,
            "price": [1.5, float("nan"), 2.0],
            "added": pandas.to_datetime(["2024-05-01", None, "2024-05-03"], utc=True),
        }
    )


def polars_table(width: int | None) -> Any:
    polars = pytest.importorskip("polars")
    text = polars.Series("text", TEXT.tolist(), dtype=polars.List(polars.Float32))
    if width is not None:
        text = polars.Series("text", TEXT, dtype=polars.Array(polars.Float32, width))
    tokens = polars.Series("tokens", TOKENS, dtype=polars.List(polars.List(polars.Float32)))
    columns = {"id": ["a", "b", "c"], "text": text, "tokens": tokens, "year": YEARS, "title": TITLES}
    return polars.DataFrame(columns).with_columns(
        price=polars.Series([1.5, None, 2.0]),
        added=polars.Series(["2024-05-01", None, "2024-05-03"]).str.to_datetime(time_zone="UTC"),
    )


def arrow_table(fixed: bool) -> Any:
    arrow = pytest.importorskip("pyarrow")
    text = arrow.array(TEXT.tolist(), arrow.list_(arrow.float32(), 4 if fixed else -1))
    token = arrow.list_(arrow.float32(), 3 if fixed else -1)
    from datetime import datetime, timezone

    days = [datetime(2024, 5, 1, tzinfo=timezone.utc), None, datetime(2024, 5, 3, tzinfo=timezone.utc)]
    table = arrow.table(
        {
            "id": ["a", "b", "c"],
            "text": text,
            "tokens": arrow.array(TOKENS, arrow.list_(token)),
            "year": YEARS,
            "title": TITLES,
            "price": [1.5, None, 2.0],
            "added": arrow.array(days, arrow.timestamp("us", "UTC")),
        }
    )
    # Two chunks a column.
    return arrow.concat_tables([table.slice(0, 2), table.slice(2)])


TABLES: dict[str, Callable[[], Any]] = {
    "pandas": pandas_table,
    "polars-list": lambda: polars_table(None),
    "polars-array": lambda: polars_table(4),
    "arrow-list": lambda: arrow_table(False),
    "arrow-fixed": lambda: arrow_table(True),
    "arrow-batch": lambda: arrow_table(True).combine_chunks().to_batches()[0],
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables(make: Make, table: Callable[[], Any]) -> None:
    docs = make(payload={"year": int, "added": "datetime"})
    assert docs.upsert(table()) == 3
    points = docs.get(["a", "b", "c"], with_vectors=True)
    assert np.array_equal([point.vectors["text"] for point in points], TEXT)
    assert [point.vectors["tokens"].tolist() for point in points] == TOKENS
    # What is missing is left out.
    assert [point.payload for point in points] == [
        {"year": 1851, "title": "Moby-Dick", "price": 1.5, "added": "2024-05-01T00:00:00+00:00"},
        {"title": "Dracula"},
        {"year": 1815, "price": 2.0, "added": "2024-05-03T00:00:00+00:00"},
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_columns_of_tables(make: Make, table: Callable[[], Any]) -> None:
    docs, columns = make(), table()
    columns = (
        columns
        if not hasattr(columns, "column")
        else {n: columns.column(n) for n in ("id", "text", "tokens")}
    )
    vectors = {name: columns[name] for name in ("text", "tokens")}
    assert docs.upsert(ids=columns["id"], vectors=vectors) == 3
    assert np.array_equal(docs.get("b", with_vectors=True).vectors["tokens"], TOKENS[1])
    assert docs.query("text", TEXT[1]).ids[0] == "b"


def test_a_table_as_payloads(make: Make) -> None:
    pandas = pytest.importorskip("pandas")
    docs = make()
    frame = pandas.DataFrame({"year": [1, 2, 3], "note": ["x", None, "z"]})
    docs.upsert(ids=frame.index, vectors={"text": TEXT}, payloads=frame)
    assert [point.payload for point in docs.scroll()] == [
        {"year": 1, "note": "x"},
        {"year": 2},
        {"year": 3, "note": "z"},
    ]


def test_tables_that_do_not_fit(make: Make) -> None:
    pandas = pytest.importorskip("pandas")
    docs = make()
    frame = pandas_table()
    with pytest.raises(
        lanner.InvalidInput, match="points: expected a column 'id' of ids, got the columns text"
    ):
        docs.upsert(frame.drop(columns="id"))
    assert docs.upsert(frame.rename(columns={"id": "key"}), id_column="key") == 3
    with pytest.raises(lanner.InvalidInput, match="expected columns named as vector fields"):
        docs.upsert(frame[["id", "title"]])
    ragged = pandas.DataFrame({"id": [1, 2], "text": [[1, 2, 3, 4], [1, 2]]})
    with pytest.raises(lanner.InvalidInput, match=r"vectors.text\[1\]: expected 4 values"):
        docs.upsert(ragged)
    polars = pytest.importorskip("polars")
    ragged = polars.DataFrame({"id": [1, 2], "text": [[1.0, 2.0, 3.0], [1.0]]})
    with pytest.raises(lanner.InvalidInput, match="vectors.text: expected vectors of one dimension"):
        docs.upsert(ragged)
