"""Queries against exact oracles in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import cosine, max_sim

import lanner

Make = Callable[..., lanner.Collection]
POINTS = 300


class Corpus:
    """A collection and what is in it."""

    def __init__(self, docs: lanner.Collection, random: np.random.Generator) -> None:
        self.docs = docs
        self.text = random.standard_normal((POINTS, 4)).astype(np.float32)
        self.tokens = [random.standard_normal((1 + at % 4, 3)).astype(np.float32) for at in range(POINTS)]
        self.year = 1900 + np.arange(POINTS) % 120
        payloads = [
            {"year": int(year), "lang": "en" if at % 3 else "de", "shelf": at % 10}
            for at, year in enumerate(self.year)
        ]
        vectors = {"text": self.text, "tokens": self.tokens}
        docs.upsert(ids=range(POINTS), vectors=vectors, payloads=payloads)

    def best(self, scores: np.ndarray, allowed: np.ndarray | None = None) -> list[int]:
        """Ids by score, of equal ones the smaller first."""
        order = np.argsort(-scores, kind="stable")
        return [int(at) for at in order if allowed is None or allowed[at]]


@pytest.fixture
def corpus(make: Make, random: np.random.Generator) -> Corpus:
    return Corpus(make(payload={"year": int, "lang": str, "shelf": int}), random)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_hits_are_the_best_by_cosine(corpus: Corpus, random: np.random.Generator, dtype: type) -> None:
    query = random.standard_normal(4).astype(dtype)
    scores = cosine(query[None].astype(np.float32), corpus.text)[0]
    hits = corpus.docs.query("text", query, limit=20)
    assert hits.ids == corpus.best(scores)[:20]
    np.testing.assert_allclose(hits.scores, scores[hits.ids], atol=1e-6)
    assert hits.scores.dtype == np.float32 and hits.estimated_recall == 1.0 and hits.sequence > 0
    assert corpus.docs.query("text", query.tolist(), limit=5, offset=3).ids == hits.ids[3:8]
    threshold = float(hits.scores[6])
    assert corpus.docs.query("text", query, limit=20, score_threshold=threshold).ids == hits.ids[:7]


def test_hits_are_a_sequence(corpus: Corpus) -> None:
    hits = corpus.docs.query("text", corpus.text[7], limit=30, with_vectors=True)
    best = hits[0]
    assert (best.id, best.payload, len(hits)) == (7, {"year": 1907, "lang": "en", "shelf": 7}, 30)
    assert best.score == pytest.approx(1.0) and best.vectors["tokens"].shape == (4, 3)
    assert [hit.id for hit in hits] == hits.ids == [hit.id for hit in hits[:]]
    assert hits[-1].id == hits.ids[-1] and [hit.id for hit in hits[2:4]] == hits.ids[2:4]
    with pytest.raises(IndexError):
        hits[30]
    assert repr(best).startswith("Hit(7, score=1, vectors=") and "10 more" in repr(hits)
    html = hits._repr_html_()
    assert "<th>year</th>" in html and "<td>1907</td>" in html and "30 hits" in html
    assert corpus.docs.query("text", corpus.text[7], with_payload=False)[0].payload is None


def test_what_is_shown_is_escaped(make: Make) -> None:
    docs = make()
    docs.upsert(ids=["<b>"], vectors={"text": [[1, 0, 0, 0]]}, payloads=[{"a<b": "<script>"}])
    html = docs.query("text", [1, 0, 0, 0])._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html and "&lt;b&gt;" in html


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_max_sim(corpus: Corpus, random: np.random.Generator, dtype: type) -> None:
    query = random.standard_normal((5, 3)).astype(dtype)
    scores = max_sim(query.astype(np.float32), corpus.tokens)
    hits = corpus.docs.query("tokens", query)
    assert hits.ids == corpus.best(scores)[:10]
    np.testing.assert_allclose(hits.scores, scores[hits.ids], rtol=1e-5)
    assert corpus.docs.query("tokens", query.tolist(), exact=True).ids == hits.ids


def test_batches_are_their_queries(corpus: Corpus, random: np.random.Generator) -> None:
    queries = random.standard_normal((2_500, 4)).astype(np.float32)
    ids, scores = batch = corpus.docs.batch_query("text", queries, limit=7)
    assert (ids.dtype, scores.dtype, ids.shape) == (np.int64, np.float32, (2_500, 7))
    truth = cosine(queries, corpus.text)
    assert np.array_equal(ids, np.argsort(-truth, axis=1, kind="stable")[:, :7])
    np.testing.assert_allclose(scores, np.take_along_axis(truth, ids, 1), atol=1e-6)
    assert len(batch) == 2_500 and np.all(batch.estimated_recall == 1)
    assert batch[2_400].ids == ids[2_400].tolist() and batch[-1].ids == ids[-1].tolist()
    assert [hits.ids for hits in batch[1:3]] == ids[1:3].tolist()
    with_payload = corpus.docs.batch_query("text", queries[:2], with_payload=True)
    best = with_payload[1][0]
    assert best.payload is not None and best.payload == corpus.docs.get(best.id).payload
    with pytest.raises(IndexError):
        batch[2_500]


def test_batches_of_multi_vectors(corpus: Corpus, random: np.random.Generator) -> None:
    queries = [random.standard_normal((1 + at % 5, 3)).astype(np.float32) for at in range(20)]
    expected = [corpus.best(max_sim(query, corpus.tokens))[:10] for query in queries]
    offsets = np.concatenate([[0], np.cumsum([len(query) for query in queries])])
    for given in (queries, lanner.Ragged(np.concatenate(queries), offsets)):
        assert corpus.docs.batch_query("tokens", given).ids.tolist() == expected


def test_short_rows_of_a_batch_are_marked(make: Make) -> None:
    docs = make()
    docs.upsert(ids=[5, 6], vectors={"text": np.eye(2, 4)})
    ids, scores = docs.batch_query("text", np.eye(1, 4), limit=3)
    assert ids.tolist() == [[5, 6, -1]] and scores[0, 2] == -np.inf
    docs.upsert(ids=["a"], vectors={"text": np.ones((1, 4))})
    ids, _ = docs.batch_query("text", np.eye(1, 4), limit=4)
    assert ids.dtype == object and ids.tolist() == [[5, "a", 6, None]]
    docs.delete(["a"])
    docs.upsert(ids=[2**64 - 1], vectors={"text": np.ones((1, 4))})
    assert docs.batch_query("text", np.eye(1, 4), limit=2).ids.tolist() == [[5, 2**64 - 1]]


FILTERS = [
    (lanner.field("year") >= 2000, lambda c: c.year >= 2000),
    (lanner.field("year") < 1910, lambda c: c.year < 1910),
    (lanner.field("year").between(1950, 1960), lambda c: (c.year >= 1950) & (c.year <= 1960)),
    (
        (lanner.field("lang") == "de") & (lanner.field("year") > 1980),
        lambda c: (c.lang == "de") & (c.year > 1980),
    ),
    (
        ~(lanner.field("lang") == "de") | (lanner.field("shelf") <= 1),
        lambda c: (c.lang != "de") | (c.shelf <= 1),
    ),
    (lanner.field("lang") != "de", lambda c: c.lang != "de"),
    (lanner.field("shelf").is_in([1, 4]), lambda c: np.isin(c.shelf, [1, 4])),
    (lanner.field("shelf").not_in(np.array([1, 4])), lambda c: ~np.isin(c.shelf, [1, 4])),
    (lanner.field("year").exists() & {"lang": "en"}, lambda c: c.lang == "en"),
    ({"year": {"gte": 2000, "lt": 2010}}, lambda c: (c.year >= 2000) & (c.year < 2010)),
    ({"or": [{"lang": "de"}, {"shelf": 3}]}, lambda c: (c.lang == "de") | (c.shelf == 3)),
    (lanner.has_id(1, 5, 200), lambda c: np.isin(np.arange(POINTS), [1, 5, 200])),
    (lanner.field("missing") == None, lambda c: np.zeros(POINTS, bool)),  # noqa: E711
]


@pytest.mark.parametrize(("condition", "oracle"), FILTERS, ids=[repr(condition) for condition, _ in FILTERS])
def test_filters(corpus: Corpus, condition: lanner.Condition, oracle: Callable[[object], np.ndarray]) -> None:
    class Columns:
        year = corpus.year
        lang = np.array(["en" if at % 3 else "de" for at in range(POINTS)])
        shelf = np.arange(POINTS) % 10

    allowed = oracle(Columns)
    query = corpus.text[0]
    scores = cosine(query[None], corpus.text)[0]
    hits = corpus.docs.query("text", query, limit=25, filter=condition)
    assert hits.ids == corpus.best(scores, allowed)[:25]
    assert (
        corpus.docs.batch_query("text", query[None], limit=5, filter=condition).ids[0].tolist()
        == (hits.ids + [-1] * 5)[:5]
    )
    assert corpus.docs.count(condition) == int(allowed.sum())
    assert [point.id for point in corpus.docs.scroll(condition, page_size=7)] == np.flatnonzero(
        allowed
    ).tolist()


def test_conditions_are_no_booleans() -> None:
    year = lanner.field("year")
    for wrong in (lambda: 1 < year < 5, lambda: bool(year == 3), lambda: (year > 1) and (year < 3)):
        with pytest.raises(TypeError, match="neither true nor false"):
            wrong()
    assert ((year > 1) & (year < 5) & {"lang": "en"}).to_dict() == {
        "and": [{"field": "year", "gt": 1}, {"field": "year", "lt": 5}, {"lang": "en"}]
    }


def test_a_point_as_query_and_examples(corpus: Corpus) -> None:
    unit = corpus.text / np.linalg.norm(corpus.text, axis=1, keepdims=True)
    scores = cosine(corpus.text[[9]], corpus.text)[0]
    expected = [at for at in corpus.best(scores) if at != 9][:10]
    assert corpus.docs.query("text", id=9).ids == expected
    positive, negative = [1, 2], [3]
    query = 2 * unit[positive].mean(axis=0) - unit[negative].mean(axis=0)
    expected = [at for at in corpus.best(cosine(query[None], corpus.text)[0]) if at not in (1, 2, 3)][:10]
    assert corpus.docs.recommend("text", positive, negative).ids == expected
    with pytest.raises(lanner.NotFound, match="point 999 does not exist"):
        corpus.docs.query("text", id=999)
    with pytest.raises(lanner.InvalidInput, match="query: expected one of a vector"):
        corpus.docs.query("text", corpus.text[0], id=9)


def test_two_stages(corpus: Corpus, random: np.random.Generator) -> None:
    query, tokens = corpus.text[3], random.standard_normal((4, 3)).astype(np.float32)
    candidates = corpus.best(cosine(query[None], corpus.text)[0])[:40]
    scores = max_sim(tokens, corpus.tokens)
    expected = sorted(candidates, key=lambda at: (-scores[at], at))[:10]
    assert corpus.docs.rescore("text", query, "tokens", tokens, candidates=40).ids == expected
    hits = corpus.docs.query("text", query, rescore=lanner.Rescore("tokens", tokens, 40), explain=True)
    assert hits.ids == expected
    assert [stage.name for stage in hits.explanation][-1] == "rescore"
    np.testing.assert_allclose(hits.scores, scores[expected], rtol=1e-5)


def test_fusion(corpus: Corpus, random: np.random.Generator) -> None:
    query, tokens = corpus.text[3], random.standard_normal((4, 3)).astype(np.float32)
    rankings = [
        corpus.best(cosine(query[None], corpus.text)[0])[:30],
        corpus.best(max_sim(tokens, corpus.tokens))[:20],
    ]
    searches = [lanner.Search("text", query, limit=30), lanner.Search("tokens", tokens, limit=20)]
    for weights in (None, [1.0, 2.5]):
        fused: dict[int, float] = {}
        for ranking, weight in zip(rankings, weights or [1.0, 1.0]):
            for rank, at in enumerate(ranking, 1):
                fused[at] = fused.get(at, 0.0) + weight / (10 + rank)
        hits = corpus.docs.fuse(searches, weights=weights, k=10, limit=15, explain=True)
        np.testing.assert_allclose(hits.scores, sorted(fused.values(), reverse=True)[:15], rtol=1e-6)
        np.testing.assert_allclose([fused[at] for at in hits.ids], hits.scores, rtol=1e-6)
        assert len(hits.explanations) == 2 and hits[0].payload is not None
    similarity = cosine(query[None], corpus.text)[0]
    only = corpus.docs.fuse([lanner.Search("text", query, limit=30)], scores="min-max", limit=30)
    best = similarity[rankings[0]]
    np.testing.assert_allclose(only.scores, (best - best.min()) / (best.max() - best.min()), atol=1e-5)
    infimum = corpus.docs.fuse(searches[:1], scores="theoretical-min-max", limit=30)
    np.testing.assert_allclose(infimum.scores, (best + 1) / (best.max() + 1), rtol=1e-5)
    with pytest.raises(lanner.InvalidInput, match=r"^k: expected either `k` or `scores`, got 10"):
        corpus.docs.fuse(searches, k=10, scores="z-score")
    with pytest.raises(lanner.InvalidInput, match=r"^scores: expected min-max, z-score or theoretical"):
        corpus.docs.fuse(searches, scores="max")  # type: ignore[arg-type]
    with pytest.raises(lanner.InvalidInput, match=r"searches\[0\]: expected a lanner.Search"):
        corpus.docs.fuse(["text"])  # type: ignore[list-item]


def test_groups(corpus: Corpus) -> None:
    scores = cosine(corpus.text[[0]], corpus.text)[0]
    groups = corpus.docs.query_groups("text", corpus.text[0], by="shelf", group_size=2, limit=4, exact=True)
    ranked: dict[int, list[int]] = {}
    for at in corpus.best(scores):
        ranked.setdefault(at % 10, []).append(at)
    assert [(group.value, group.hits.ids) for group in groups] == [
        (shelf, ids[:2]) for shelf, ids in list(ranked.items())[:4]
    ]
    assert groups.estimated_recall == 1.0 and groups.explanation is None
    assert groups[0].hits[0].payload["shelf"] == groups[0].value


def test_explanations(corpus: Corpus) -> None:
    explained = corpus.docs.explain("text", corpus.text[0], limit=3, exact=True)
    assert [stage.name for stage in explained] == ["scan"]
    assert (explained[0].rows, explained[0].source) == (POINTS, "vectors")
    assert "300 rows of vectors" in repr(explained) and "<td>scan</td>" in explained._repr_html_()
    assert corpus.docs.query("text", corpus.text[0]).explanation is None


def test_scrolls_in_an_order(corpus: Corpus) -> None:
    order = sorted(range(POINTS), key=lambda at: (-corpus.year[at], at))
    found = corpus.docs.scroll(order_by="year", descending=True, page_size=13)
    assert [point.id for point in found] == order
    first = corpus.docs.scroll({"lang": "de"}, order_by="year", limit=5, page_size=2)
    expected = sorted((at for at in range(POINTS) if at % 3 == 0), key=lambda at: (corpus.year[at], at))[:5]
    assert [point.id for point in first] == expected
    assert [point.id for point in corpus.docs.scroll(after=290)] == list(range(291, POINTS))
    assert [point.id for point in corpus.docs.scroll(limit=3, page_size=2)] == [0, 1, 2]
    with pytest.raises(lanner.InvalidInput, match="the path is not declared"):
        list(corpus.docs.scroll(order_by="nothing"))


def test_facets(corpus: Corpus) -> None:
    facets = corpus.docs.facet("shelf", limit=4)
    assert facets == {0: 30, 1: 30, 2: 30, 3: 30} and facets.values_in_all == 10
    assert corpus.docs.facet("lang", filter=lanner.field("shelf") == 0) == {"en": 20, "de": 10}


def test_arguments_are_named(corpus: Corpus) -> None:
    docs, query = corpus.docs, corpus.text[0]
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: docs.query("nope", query), "no such vector field; the collection has: text, tokens"),
        (lambda: docs.query("text", query[:3]), "expected 4 dimensions, got 3"),
        (lambda: docs.query("text", query[None]), "expected a single vector, got a multi vector"),
        (lambda: docs.query("tokens", query[:3]), "expected a multi vector, got a single vector"),
        (lambda: docs.query("text", query * np.nan), "expected finite values, got NaN at position 0"),
        (lambda: docs.query("text", np.zeros(4)), "expected a vector of non-zero length"),
        (lambda: docs.query("text", query.astype(complex)), "query: expected numbers"),
        (
            lambda: docs.query("text", "query"),
            "query: expected a vector or points, for a vector field, got words",
        ),
        (lambda: docs.query("text", query[None, None]), "query: expected the shape [dimension]"),
        (lambda: docs.query("text", query, limit=0), "limit"),
        (lambda: docs.query("text", query, limit=-1), "limit: expected an integer from 0, got -1"),
        (lambda: docs.query("text", query, limit=2.5), "limit: expected an integer from 0, got 2.5"),
        (lambda: docs.query("text", query, limit=20_000), "expected 1 to 10000, got 20000"),
        (lambda: docs.query("text", query, target_recall=2.0), "target_recall"),
        (lambda: docs.query("text", query, filter={"and": 3}), "filter.and: expected an array"),
        (
            lambda: docs.query("text", query, filter=["lang"]),
            "filter: expected a condition or a dict, got list",
        ),
        (lambda: docs.query("text", query, filter={"year": "x"}), "filter.year: expected an integer"),
        (lambda: docs.query("text", query, rescore="tokens"), "rescore: expected lanner.Rescore"),
        (lambda: docs.batch_query("text", query), "queries: expected the shape"),
        (lambda: docs.batch_query("text", corpus.text[:0]), "queries: expected at least one query, got none"),
        (
            lambda: docs.batch_query("tokens", corpus.text),
            "queries: expected a list of [n, dimension] arrays",
        ),
        (lambda: docs.facet("nope"), "the path is not declared"),
        (lambda: docs.query_groups("text", query, by="nope"), "the path is not declared"),
    ]
    for call, message in cases:
        with pytest.raises(lanner.InvalidInput) as refused:
            call()
        assert message in str(refused.value)
    bad = np.ones((1_500, 4), np.float32)
    bad[1_234, 2] = np.inf
    with pytest.raises(lanner.InvalidInput, match=r"^queries\[1234\].*got inf at position 2"):
        docs.batch_query("text", bad)
