"""Long work: optimize, train, verify, progress."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import cosine

import lanner


def large(
    db: lanner.Database, random: np.random.Generator, points: int = 3_000
) -> tuple[lanner.Collection, np.ndarray]:
    docs = db.create_collection("docs", {"v": lanner.vector(32)})
    # Near a few centres, as embeddings are.
    centres = random.standard_normal((40, 32))
    base = (centres[random.integers(0, 40, points)] + 0.7 * random.standard_normal((points, 32))).astype(
        np.float32
    )
    docs.upsert(ids=range(points), vectors=base, durability="buffered")
    return docs, base


def test_optimize_compresses_and_queries_keep_their_recall(
    db: lanner.Database, random: np.random.Generator
) -> None:
    docs, base = large(db, random)
    job = docs.optimize(progress=False)
    assert (job.kind, job.collection, job.state, job.phase, job.reason) == (
        "optimize",
        "docs",
        "done",
        "ended",
        None,
    )
    info = docs.info()
    assert [segment.rows for segment in info.segments if segment.number is not None] == [3_000]
    assert "v" in info.segments[0].codecs and "<td>v: ready</td>" in info._repr_html_()
    queries = base[:50] + 0.1 * random.standard_normal((50, 32)).astype(np.float32)
    truth = np.argsort(-cosine(queries, base), axis=1)[:, :10]
    batch = docs.batch_query("v", queries, target_recall=0.95)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(batch.ids.tolist(), truth.tolist())])
    assert recall >= 0.95
    assert "codes" in repr(docs.explain("v", queries[0]))
    assert np.array_equal(docs.batch_query("v", queries, exact=True).ids, truth)


def test_training_on_queries(db: lanner.Database, random: np.random.Generator) -> None:
    docs, base = large(db, random)
    docs.flush()
    assert docs.train("v", base[:200] + 0.1, progress=False).state == "done"
    assert docs.info().segments[0].codecs["v"]["trained_queries"] > 100
    with pytest.raises(lanner.InvalidInput, match="no such vector field"):
        docs.train("nope", base[:200])
    sampled = db.create_collection("sampled", {"v": lanner.vector(32)}, training={"v": base[:200]})
    sampled.upsert(ids=range(3_000), vectors=base)
    sampled.optimize(progress=False)
    assert sampled.info().segments[0].codecs["v"]["trained_queries"] > 100


def test_jobs_are_listed_and_waited_for(db: lanner.Database, random: np.random.Generator) -> None:
    docs, _ = large(db, random)
    job = docs.optimize(wait=False)
    assert job.id in [found.id for found in db.jobs()]
    assert job.wait().refresh().state == "done" and "optimize docs: done" in repr(job)
    assert docs.verify(wait=False).wait().kind == "verify"


def test_a_bar_shows_how_far_it_is(
    db: lanner.Database, random: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tqdm")
    docs, _ = large(db, random)
    docs.upsert(ids=range(10), vectors=np.ones((10, 32)), progress=True)
    docs.optimize(progress=True)
    shown = capsys.readouterr().err
    assert "upsert docs" in shown and "optimize docs" in shown
    docs.upsert(ids=range(10), vectors=np.ones((10, 32)))
    assert capsys.readouterr().err == "", "nothing where there is no terminal"


def test_damage_is_found(tmp_path: Path, random: np.random.Generator) -> None:
    with lanner.open(tmp_path / "db") as db:
        docs, _ = large(db, random)
        docs.optimize(progress=False)
    files = [path for path in (tmp_path / "db" / "collections").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with lanner.open(tmp_path / "db") as db, pytest.raises(lanner.Corrupted, match="damage was found"):
        db["docs"].verify(progress=False)


def test_a_path_is_declared_when_there_are_points(db: lanner.Database) -> None:
    docs = db.create_collection("docs", {"v": lanner.vector(2)})
    docs.upsert(
        ids=[1, 2, 3],
        vectors=np.eye(3, 2, dtype=np.float32) + 1,
        payloads=[{"year": 1851}, {"year": 1815, "lang": "en"}, {"lang": 7}],
    )
    docs.flush()
    assert docs.declare("year", "integer", progress=False).state == "done"
    assert docs.facet("year") == {1815: 1, 1851: 1}
    with pytest.raises(lanner.InvalidInput, match=r"point 3.payload.lang"):
        docs.declare("lang", "keyword", progress=False)
    with pytest.raises(lanner.InvalidInput, match=r"payload.year"):
        docs.declare("year", "decade")
