"""Databases and collections: create, list, describe, drop."""

from __future__ import annotations

from datetime import datetime

import pytest

import lanner


def test_settings_come_back_as_they_were_given(db: lanner.Database) -> None:
    fields = {
        "text": lanner.vector(
            8,
            "l2",
            element="f16",
            compression="lvq4:4/f16",
            index="graph:degree=16",
            memory="cold",
            recent_queries=0,
        ),
        "tokens": lanner.multivector(16, "cosine", encoding="fde:repetitions=4", token_pooling=2),
        "plain": lanner.vector(4, "dot", compression=None),
    }
    payload = {"lang": str, "year": int, "price": float, "open": bool, "added": datetime, "tag": "keyword"}
    docs = db.create_collection("docs", fields, payload)
    info = docs.info()
    assert info.fields == fields
    assert info.payload == {
        "lang": "keyword",
        "year": "integer",
        "price": "float",
        "open": "boolean",
        "added": "datetime",
        "tag": "keyword",
    }
    assert (info.name, info.points, len(docs)) == ("docs", 0, 0)
    assert repr(fields["plain"]) == "lanner.vector(4, 'dot', compression='none')"
    assert "docs" in info._repr_html_() and "lvq4:4/f16" in docs._repr_html_()


def test_collections_are_found_by_name(db: lanner.Database) -> None:
    field = {"v": lanner.vector(2)}
    db.create_collection("b", field)
    db.create_collection("a", field).upsert(ids=[1], vectors=[[1, 0]])
    assert [tuple(found) for found in db.list()] == [("a", 1, None), ("b", 0, None)]
    assert "a" in db and "c" not in db and list(db) == ["a", "b"]
    assert db["a"].count() == 1
    with pytest.raises(lanner.NotFound, match="`c` does not exist"):
        db.collection("c")
    with pytest.raises(lanner.AlreadyExists):
        db.create_collection("a", field)
    assert db.create_collection("a", field, exist_ok=True).count() == 1
    with pytest.raises(lanner.AlreadyExists):
        db.create_collection("a", {"v": lanner.vector(3)}, exist_ok=True)
    db.drop("a")
    assert list(db) == ["b"]
    with pytest.raises(lanner.NotFound):
        db.drop("a")
    assert "<td>b</td>" in db._repr_html_()


@pytest.mark.parametrize(
    ("fields", "payload", "message"),
    [
        ({}, None, "fields: expected 1 to 16, got 0"),
        ({"text": 384}, None, "fields: expected lanner.vector"),
        ([lanner.vector(3)], None, "fields: expected a dict"),
        ({"text": lanner.vector(0)}, None, "fields.text.dimension: expected 1 to 65536, got 0"),
        ({"text": lanner.vector(-3)}, None, "fields.text.dimension: expected an integer from 0, got -3"),
        (
            {"text": lanner.vector("384")},
            None,
            'fields.text.dimension: expected an integer from 0, got "384"',
        ),
        ({"text": lanner.vector(3, "euclid")}, None, "fields.text.metric: expected cosine, dot or l2"),
        ({"text": lanner.vector(3, compression="pq")}, None, "compression: expected none, auto, or a code"),
        ({"text": lanner.vector(3, index="hnsw")}, None, "index: expected auto, graph, ivf or flat"),
        ({"Text": lanner.vector(3)}, None, "expected a name of the form"),
        ({"text": lanner.vector(3)}, {"year": "int"}, "payload.year: expected keyword, integer"),
        ({"text": lanner.vector(3)}, {"year": [1]}, "payload.year: expected keyword, integer"),
    ],
)
def test_bad_settings_are_named(db: lanner.Database, fields: object, payload: object, message: str) -> None:
    with pytest.raises(lanner.InvalidInput) as refused:
        db.create_collection("docs", fields, payload)  # type: ignore[arg-type]
    assert message in str(refused.value)
    assert list(db) == []


def test_a_closed_database_says_so(db: lanner.Database) -> None:
    docs = db.create_collection("docs", {"v": lanner.vector(2)})
    db.close()
    db.close()
    for call in (db.list, docs.count, docs.info, lambda: docs.query("v", [1, 0])):
        with pytest.raises(lanner.Closed, match="the database is closed"):
            call()
    assert "(closed)" in repr(db)
