"""Text fields: queries of words against BM25 from its definition, beside vectors, filtered, and alone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import Server, cosine

import lanner

POINTS = 150
WEIGHTS = {"meta.title": 2.5, "text": 1.0}
VOCABULARY = [
    a + b for a in ("ba", "co", "mi", "ra", "so", "tu") for b in ("ba", "ke", "lo", "mu", "ni", "ta")
]
# Two clients and the engine add in different orders and precisions.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


class Corpus:
    """A collection with the fields `v` and `words`, and what is in it."""

    def __init__(self, db: lanner.Database, random: np.random.Generator) -> None:
        fields = {"v": lanner.vector(4), "words": lanner.text(WEIGHTS, k1=1.1, b=0.6)}
        self.docs = db.create_collection("docs", fields, {"shelf": int})
        self.vectors = random.standard_normal((POINTS, 4)).astype(np.float32)
        self.titles = [self.text(random, 4) for _ in range(POINTS)]
        self.texts = [self.text(random, 30) for _ in range(POINTS)]
        payloads = [
            {"meta": {"title": ", ".join(title).title()}, "text": " ".join(text), "shelf": at % 7}
            for at, (title, text) in enumerate(zip(self.titles, self.texts))
        ]
        self.docs.upsert(ids=range(POINTS), vectors={"v": self.vectors}, payloads=payloads)

    @staticmethod
    def text(random: np.random.Generator, most: int) -> list[str]:
        """Words of which the first of the vocabulary are frequent."""
        places = (random.random(random.integers(1, most)) ** 2 * len(VOCABULARY)).astype(int)
        return [VOCABULARY[at] for at in places]

    def scores(self, *words: str) -> dict[int, float]:
        """The oracle: BM25F of the points that have any of these words."""
        paths = [(self.titles, WEIGHTS["meta.title"]), (self.texts, WEIGHTS["text"])]
        lengths = [sum(len(path[at]) * weight for path, weight in paths) for at in range(POINTS)]
        average = sum(lengths) / POINTS
        found: dict[int, float] = {}
        for word in words:
            frequency = max(sum(word in text for text in path) for path, _ in paths)
            idf = math.log1p((POINTS - frequency + 0.5) / (frequency + 0.5))
            for at, length in enumerate(lengths):
                occurrences = sum(path[at].count(word) * weight for path, weight in paths)
                if occurrences:
                    norm = 1.1 * (1 - 0.6 + 0.6 * length / average)
                    found[at] = found.get(at, 0.0) + idf * occurrences / (occurrences + norm)
        return found

    def has(self, at: int, word: str) -> bool:
        return word in self.titles[at] or word in self.texts[at]


@pytest.fixture
def corpus(db: lanner.Database, random: np.random.Generator) -> Corpus:
    return Corpus(db, random)


def ranked(scores: Mapping[int, float]) -> list[int]:
    """Ids by score, of equal ones the smaller first."""
    return sorted(scores, key=lambda at: (-scores[at], at))


def check(hits: lanner.Hits, scores: Mapping[int, float], limit: int) -> None:
    """Compares hits with the best of the oracle; equal scores may be rounded to either order."""
    np.testing.assert_allclose(hits.scores, [scores[at] for at in ranked(scores)[:limit]], **CLOSE)
    np.testing.assert_allclose(hits.scores, [scores[at] for at in hits.ids], **CLOSE)
    assert len(set(hits.ids)) == len(hits)


FIELDS = [
    lanner.text("text"),
    lanner.text("title", "meta.abstract", analyzer="english", k1=1.2, b=0.75),
    lanner.text({"title": 2, "text": 1 / 3}, analyzer="ngram:2-4"),
    lanner.text({"a.b": 1, "c": 1.0}, analyzer="cjk", k1=np.float32(0.1), b=0),
]


@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_settings_come_back_as_they_were_given(db: lanner.Database, field: lanner.TextField) -> None:
    fields = {"v": lanner.vector(2), "words": field}
    docs = db.create_collection("docs", fields)
    assert docs.fields == fields and hash(docs.fields["words"]) == hash(field)
    assert eval(repr(docs.fields["words"]), {"lanner": lanner}) == field
    assert db.create_collection("docs", fields, exist_ok=True).name == "docs"
    with pytest.raises(lanner.AlreadyExists):
        db.create_collection("docs", {"v": lanner.vector(2), "words": lanner.text("else")}, exist_ok=True)
    assert repr(field) in repr(docs.info())
    assert f"<td>{', '.join(field.paths)}</td>" in docs._repr_html_()


def test_settings_are_shown_as_they_are_written() -> None:
    assert [repr(field) for field in FIELDS] == [
        "lanner.text('text')",
        "lanner.text('meta.abstract', 'title', analyzer='english', k1=1.2, b=0.75)",
        "lanner.text({'text': 0.33333334, 'title': 2.0}, analyzer='ngram:2-4')",
        "lanner.text('a.b', 'c', analyzer='cjk', k1=0.1, b=0.0)",
    ]
    assert FIELDS[0] != lanner.text("text", b=0.5) and lanner.text("text") != lanner.vector(2)
    assert lanner.text("text", k1=0.9) == FIELDS[0]
    with pytest.raises(AttributeError):
        FIELDS[0].k1 = 2.0
    with pytest.raises(TypeError):
        FIELDS[0].paths["text"] = 2.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("words", "limit"), [(["baba"], 200), (["rake", "tuta"], 20), (["soni", "baba", "milo", "koko"], 15)]
)
def test_hits_are_the_best_by_bm25(corpus: Corpus, words: list[str], limit: int) -> None:
    scores = corpus.scores(*words)
    assert scores
    query = " -".join(words).upper() + '?! "'  # Nothing of a text is an operator.
    hits = corpus.docs.query("words", query, limit=limit)
    check(hits, scores, limit)
    assert hits.estimated_recall == 1.0 and hits[0].payload is not None
    assert corpus.docs.query("words", query, limit=5, offset=2).ids == hits.ids[2:7]
    least = float(hits.scores[2])
    assert corpus.docs.query("words", query, limit=limit, score_threshold=least).ids == hits.ids[:3]
    corpus.docs.flush()
    check(corpus.docs.query("words", query, limit=limit), scores, limit)


def test_operators(corpus: Corpus) -> None:
    def found(text: str) -> set[int]:
        return set(corpus.docs.query("words", lanner.TextQuery(text), limit=POINTS).ids)

    def expected(holds: Callable[[int], bool]) -> set[int]:
        points = {at for at in range(POINTS) if holds(at)}
        assert 0 < len(points) < POINTS
        return points

    def begins(at: int, beginning: str) -> bool:
        return any(word.startswith(beginning) for word in corpus.titles[at] + corpus.texts[at])

    def together(at: int, most: int) -> bool:
        texts = (corpus.titles[at], corpus.texts[at])
        pairs = ((text, place) for text in texts for place, word in enumerate(text) if word == "baba")
        return any("bake" in text[place + 1 : place + 2 + most] for text, place in pairs)

    has = corpus.has
    assert found("+bake balo") == expected(lambda at: has(at, "bake"))
    assert found("balo -bake") == expected(lambda at: has(at, "balo") and not has(at, "bake"))
    assert found("rak*") == expected(lambda at: begins(at, "rak"))
    assert found("soba~1") == expected(lambda at: any(has(at, word) for word in ("soba", "coba", "sota")))
    for slop in (0, 2):
        suffix = f"~{slop}" if slop else ""
        close = partial(together, most=slop)
        assert found(f'"baba bake"{suffix}') == expected(close)
    check(
        corpus.docs.query("words", lanner.TextQuery("+bake +balo"), limit=POINTS),
        {at: s for at, s in corpus.scores("bake", "balo").items() if has(at, "bake") and has(at, "balo")},
        POINTS,
    )


def test_queries_are_values() -> None:
    query = lanner.TextQuery('+sky "blue light"~2')
    assert (query.text, repr(query)) == ('+sky "blue light"~2', "lanner.TextQuery('+sky \"blue light\"~2')")
    assert query == lanner.TextQuery(query.text) != lanner.TextQuery("sky") and query != query.text
    assert len({query, lanner.TextQuery(query.text)}) == 1


def test_batches_are_their_queries(corpus: Corpus) -> None:
    texts: list[Any] = [f"{VOCABULARY[at % 36]} {VOCABULARY[at * 7 % 36]}" for at in range(1_100)]
    texts[3] = lanner.TextQuery("+baba bake")
    ids, scores = batch = corpus.docs.batch_query("words", texts, limit=6)
    assert ids.shape == scores.shape == (1_100, 6)
    for at in (0, 3, 35, 1_099):
        alone = corpus.docs.query("words", texts[at], limit=6)
        assert ids[at].tolist() == alone.ids and batch[at].ids == alone.ids
        assert scores[at].tolist() == alone.scores.tolist()
    plain = [text for text in texts[:3]]
    for same in (tuple(plain), np.array(plain), np.array(plain, object)):
        assert np.array_equal(corpus.docs.batch_query("words", same, limit=6).ids, ids[:3])
    assert corpus.docs.batch_query("words", ["nothing"], limit=2).ids.tolist() == [[-1, -1]]
    texts[1_050] = ""
    with pytest.raises(lanner.InvalidInput, match=r"^queries\[1050\]\S*: \S*.*expected 1 to 65536, got 0"):
        corpus.docs.batch_query("words", texts)


FILTERS: list[tuple[lanner.Condition, Callable[[Corpus, int], bool]]] = [
    (lanner.field("meta.title").matches("bake"), lambda c, at: "bake" in c.titles[at]),
    (
        lanner.field("text").matches("balo BABA"),
        lambda c, at: {"balo", "baba"} <= set(c.texts[at]),
    ),
    (
        lanner.field("words").matches("bake -baba"),
        lambda c, at: c.has(at, "bake") and not c.has(at, "baba"),
    ),
    (
        ~lanner.field("words").matches("bake") & (lanner.field("shelf") < 4),
        lambda c, at: not c.has(at, "bake") and at % 7 < 4,
    ),
]


@pytest.mark.parametrize(("condition", "oracle"), FILTERS, ids=[repr(condition) for condition, _ in FILTERS])
def test_filters(corpus: Corpus, condition: lanner.Condition, oracle: Callable[[Corpus, int], bool]) -> None:
    allowed = [at for at in range(POINTS) if oracle(corpus, at)]
    assert 0 < len(allowed) < POINTS
    assert corpus.docs.count(condition) == len(allowed)
    assert [point.id for point in corpus.docs.scroll(condition)] == allowed
    scores = {at: score for at, score in corpus.scores("rake", "mulo", "coba").items() if at in allowed}
    check(corpus.docs.query("words", "rake mulo coba", filter=condition, limit=20), scores, 20)
    by_vector = corpus.docs.query("v", corpus.vectors[0], filter=condition, limit=POINTS, exact=True)
    assert sorted(by_vector.ids) == allowed


def test_fusion_with_a_vector(corpus: Corpus) -> None:
    query = corpus.vectors[0]
    similarity = cosine(query[None], corpus.vectors)[0]
    words = corpus.docs.query("words", "rake tuta", limit=30)
    vectors = corpus.docs.query("v", query, limit=20)
    searches = [lanner.Search("words", "rake tuta", limit=30), lanner.Search("v", query, limit=20)]
    lists = [words.ids, vectors.ids]
    fused = {
        at: sum(1 / (60 + ids.index(at) + 1) for ids in lists if at in ids) for ids in lists for at in ids
    }
    check(corpus.docs.fuse(searches, limit=15), fused, 15)

    of_words, of_vectors = corpus.scores("rake", "tuta"), {at: float(similarity[at]) for at in vectors.ids}
    of_words = {at: of_words[at] for at in words.ids}
    for method, of_zero in (("min-max", None), ("theoretical-min-max", (0.0, -1.0))):
        fused = {}
        for scores, weight, zero in zip((of_words, of_vectors), (0.4, 0.6), of_zero or (None, None)):
            zero = min(scores.values()) if zero is None else zero
            for at, score in scores.items():
                share = (score - zero) / (max(scores.values()) - zero)
                fused[at] = fused.get(at, 0.0) + weight * share
        hits = corpus.docs.fuse(searches, weights=[0.4, 0.6], scores=method, limit=40)  # type: ignore[arg-type]
        np.testing.assert_allclose(hits.scores, sorted(fused.values(), reverse=True)[:40], atol=1e-5)
        np.testing.assert_allclose(hits.scores, [fused[at] for at in hits.ids], atol=1e-5)
    assert len(corpus.docs.fuse(searches, explain=True).explanations) == 2


def test_two_stages(corpus: Corpus) -> None:
    query = corpus.vectors[3]
    similarity = cosine(query[None], corpus.vectors)[0]
    scores = corpus.scores("rake", "tuta", "balo")
    candidates = corpus.docs.query("words", "rake tuta balo", limit=25).ids
    expected = sorted(candidates, key=lambda at: -similarity[at])[:10]
    assert corpus.docs.rescore("words", "rake tuta balo", "v", query, candidates=25).ids == expected
    by_vector = lanner.Rescore("v", query, 25)
    assert corpus.docs.query("words", "rake tuta balo", rescore=by_vector).ids == expected

    nearest = {int(at) for at in np.argsort(-similarity)[:40]}
    found = {at: score for at, score in scores.items() if at in nearest}
    assert 5 < len(found) < 40
    for words in ("rake tuta balo", lanner.TextQuery("rake tuta balo")):
        hits = corpus.docs.query("v", query, rescore=lanner.Rescore("words", words, 40), explain=True)
        check(hits, found, 10)
        stages = [(stage.name, stage.source) for stage in hits.explanation or ()]
        assert stages[-1] == ("rescore", "text standard, 3 words")
        check(corpus.docs.rescore("v", query, "words", words, candidates=40), found, 10)


def test_groups_and_explanations(corpus: Corpus) -> None:
    scores = corpus.scores("rake", "tuta")
    of_shelf: dict[int, list[int]] = {}
    for at in ranked(scores):
        of_shelf.setdefault(at % 7, []).append(at)
    groups = corpus.docs.query_groups("words", "rake tuta", by="shelf", group_size=2, limit=4)
    assert [(group.value, group.hits.ids) for group in groups] == [
        (shelf, points[:2]) for shelf, points in list(of_shelf.items())[:4]
    ]
    explained = corpus.docs.explain("words", "rake tuta", limit=3)
    assert [(stage.name, stage.source) for stage in explained] == [("search", "text standard, 2 words")]


TEXTS = ["The sky scatters blue light.", "Oceans reflect the skies.", None, "Light of the moon"]


@pytest.fixture
def alone(db: lanner.Database) -> lanner.Collection:
    """A collection without vector fields."""
    return db.create_collection("alone", {"words": lanner.text("text", analyzer="english")})


def test_points_without_vectors(alone: lanner.Collection) -> None:
    payloads = [text and {"text": text} for text in TEXTS]
    assert alone.upsert(ids=range(4), payloads=payloads) == 4
    # Stop words are left out, and others found by their stems.
    assert alone.query("words", "why is the sky blue").ids == [0, 1]
    assert alone.query("words", "the").ids == []
    alone.upsert({"id": 10 + at, "payload": {"text": [text]}} for at, text in enumerate(TEXTS) if text)
    alone.upsert([lanner.Point(20, payload={"text": "a lighthouse"}), lanner.Point(21)])
    assert set(alone.query("words", lanner.TextQuery("light*")).ids) == {0, 3, 10, 13, 20}
    alone.update_payloads([20], merge={"text": "darkness"})
    alone.delete([0])
    assert alone.query("words", "lighthouse").ids == [] and alone.query("words", "dark").ids == [20]
    assert alone.query("words", "blue").ids == [10]
    html = alone._repr_html_()
    assert "<caption>alone: 8 points" in html and "dimension" not in html
    assert alone.get(10, with_vectors=True) == lanner.Point(10, payload={"text": [TEXTS[0]]})
    assert alone.upsert(alone.scroll(limit=5, with_vectors=True)) == 5
    assert alone.count() == 8


def test_tables_without_vectors(alone: lanner.Collection, db: lanner.Database) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"id": [1, 2], "text": ["one light", "two lights"], "words": ["no", "field"]})
    assert alone.upsert(table) == 2
    assert set(alone.query("words", "light").ids) == {1, 2}
    assert alone.get(1).payload == {"text": "one light", "words": "no"}
    with pytest.raises(lanner.InvalidInput, match="expected columns named as vector fields"):
        db.create_collection("vectors", {"v": lanner.vector(2)}).upsert(table)


def test_points_with_and_without_vectors(corpus: Corpus) -> None:
    docs = corpus.docs
    docs.upsert(ids=[500], vectors=[[1, 0, 0, 0]], payloads=[{"text": "unheard"}])
    docs.upsert(ids=[501], payloads=[{"text": "unheard of"}])
    docs.upsert(ids=[502, 503], vectors={"v": [None, [0, 1, 0, 0]]}, payloads=[{"text": "unheard"}] * 2)
    assert set(docs.query("words", "unheard").ids) == {500, 501, 502, 503}
    query = np.array([1.0, 0, 0, 0])
    assert docs.rescore("words", "unheard", "v", query).ids == [500, 503]
    with pytest.raises(lanner.InvalidInput, match="vectors: expected vectors beside the others, got nothing"):
        docs.update_vectors([501], None)


def test_large_streams_are_cut(alone: lanner.Collection) -> None:
    long = "light " * 2_000
    with pytest.raises(lanner.InvalidInput, match=r"^points\[30\].payload.text: expected text") as refused:
        points = ({"id": at, "payload": {"text": long if at < 30 else 7}} for at in range(31))
        alone.upsert(points, batch_bytes=10 * len(long))
    assert refused.value.stored == alone.count() >= 20


BAD_FIELDS: list[tuple[Callable[[], object], str]] = [
    (lambda: lanner.text(), "paths: expected at least one payload path, got none"),
    (lambda: lanner.text({}), "paths: expected at least one payload path, got none"),
    (lambda: lanner.text(3), "paths[0]: expected payload paths, or one dict of paths and weights, got int"),  # type: ignore[arg-type]
    (lambda: lanner.text(["a", "b"]), "paths[0]: expected payload paths, or one dict of paths"),  # type: ignore[arg-type]
    (lambda: lanner.text("a", {"b": 1}), "paths[1]: expected payload paths"),
    (lambda: lanner.text("a", "b", "a"), "paths[2]: expected each path once, got 'a' again"),
    (lambda: lanner.text({"a": "2"}), "paths.a: expected a finite number, got '2'"),  # type: ignore[dict-item]
    (lambda: lanner.text({"a": math.inf}), "paths.a: expected a finite number, got inf"),
    (lambda: lanner.text("a", k1="1"), "k1: expected a finite number, got '1'"),  # type: ignore[arg-type]
    (lambda: lanner.text("a", b=True), "b: expected a finite number, got True"),
    (lambda: lanner.text("a", analyzer=None), "analyzer: expected a text, got NoneType"),  # type: ignore[arg-type]
    (lambda: lanner.TextQuery('a "b'), 'text: expected a closing quote, got the end after "b'),
    (lambda: lanner.TextQuery("a~x"), 'text: expected 1 or 2 after ~, got "x"'),
    (lambda: lanner.TextQuery(3), "text: expected a text, got <class 'int'>"),  # type: ignore[arg-type]
    (lambda: lanner.TextQuery("\ud800"), "text: expected Unicode text"),
]


@pytest.mark.parametrize(("make", "message"), BAD_FIELDS)
def test_bad_fields_and_queries(make: Callable[[], object], message: str) -> None:
    with pytest.raises(lanner.InvalidInput) as refused:
        make()
    assert str(refused.value).startswith(message)


BAD_SETTINGS: list[tuple[lanner.TextField, str]] = [
    (lanner.text({"a": 0}), "fields.words.paths.a: expected a weight of 0.001 to 1000, got 0"),
    (lanner.text({"a": 1e300}), "fields.words.paths.a: expected a weight of 0.001 to 1000, got inf"),
    (lanner.text("a", k1=-1), "fields.words.k1: expected 0 to 10, got -1"),
    (lanner.text("a", b=1.5), "fields.words.b: expected 0 to 1, got 1.5"),
    (lanner.text("a", analyzer="klingon"), "fields.words.analyzer: expected standard, cjk, ngram:MIN-MAX"),
    (lanner.text(*map(str, range(17))), "fields.words.paths: expected 1 to 16, got 17"),
    (lanner.text("a..b"), "fields.words.payload: expected paths of at most"),
]


@pytest.mark.parametrize(("field", "message"), BAD_SETTINGS)
def test_bad_settings_are_named(db: lanner.Database, field: lanner.TextField, message: str) -> None:
    with pytest.raises(lanner.InvalidInput) as refused:
        db.create_collection("docs", {"v": lanner.vector(2), "words": field})
    assert str(refused.value).startswith(message)
    assert list(db) == []


def test_arguments_are_named(corpus: Corpus) -> None:
    docs, vector = corpus.docs, corpus.vectors[0]
    words, vectors = "expected words, for a text field, got a vector or points", "a vector field, got words"
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: docs.query("words", vector), f"query: {words}"),
        (lambda: docs.query("words"), f"query: {words}"),
        (lambda: docs.query("words", id=3), f"query: {words}"),
        (lambda: docs.recommend("words", [3]), f"query: {words}"),
        (lambda: docs.query("v", "words"), f"query: expected a vector or points, for {vectors}"),
        (
            lambda: docs.query("v", lanner.TextQuery("a")),
            f"query: expected a vector or points, for {vectors}",
        ),
        (lambda: docs.query("words", ["a", "b"]), "query[0]: expected numbers"),
        (lambda: docs.query("words", ""), "text: bytes: expected 1 to 65536, got 0"),
        (lambda: docs.query("words", lanner.TextQuery("-a")), "text: expected a word that hits may have"),
        (lambda: docs.query("words", "\ud800"), "query: expected Unicode text"),
        (lambda: docs.rescore("v", vector, "words", vector), f"rescore.query: {words}"),
        (
            lambda: docs.rescore("words", "a", "v", "b"),
            f"rescore.query: expected a vector or points, for {vectors}",
        ),
        (lambda: docs.batch_query("words", "baba"), "queries: expected a list of texts or lanner.TextQuery"),
        (lambda: docs.batch_query("words", []), "queries: expected at least one query, got none"),
        (
            lambda: docs.batch_query("words", ["baba", None]),
            "queries[1]: expected a text or a lanner.TextQuery, got <class 'NoneType'>",
        ),
        (
            lambda: docs.batch_query("words", corpus.vectors),
            "queries[0]: expected a text or a lanner.TextQuery",
        ),
        (lambda: docs.batch_query("v", ["baba"]), f"expected a vector or points, for {vectors}"),
        (lambda: docs.batch_query("nope", ["baba"]), 'field "nope": no such'),
        (
            lambda: docs.query("v", vector, filter=lanner.field("shelf").matches("a")),
            "filter.shelf: expected a text",
        ),
        (
            lambda: docs.query("v", vector, filter=lanner.field("text").matches('"a')),
            "filter.text: expected a closing quote",
        ),
        (
            lambda: docs.count(lanner.field("text").matches(3)),  # type: ignore[arg-type]
            "filter.text: expected words to match, got 3",
        ),
        (
            lambda: docs.upsert(ids=[1], vectors={"words": [[1.0]]}),
            "vectors: expected the collection's fields (v), got 'words'",
        ),
        (lambda: docs.upsert(payloads=[{}]), "ids: expected ids beside the others, got nothing"),
        (
            lambda: docs.upsert(ids=[900, 901], payloads=[{}, {"text": 5}]),
            "points[1].payload.text: expected text or a list of texts, got 5",
        ),
        (lambda: docs.train("words"), 'field "words": no such vector field; the collection has: v'),
    ]
    for call, message in cases:
        with pytest.raises(lanner.InvalidInput) as refused:
            call()
        assert message in str(refused.value), message
    assert len(docs) == POINTS


def test_coroutines(server: Server) -> None:
    async def main() -> None:
        async with await lanner.connect_async(server.address) as db:
            for found in await db.list():
                await db.drop(found.name)
            fields = {"v": lanner.vector(2), "words": lanner.text("text")}
            docs = await db.create_collection("docs", fields)
            payloads = [{"text": text} for text in ("blue sky", "blue sea", "red sky")]
            await docs.upsert(ids=[1, 2], vectors={"v": [[1, 0], [0, 1]]}, payloads=payloads[:2])
            assert await docs.upsert(ids=[3], payloads=payloads[2:]) == 1
            found = await asyncio.gather(*(docs.query("words", word) for word in ("blue", "sky", "green")))
            assert [hits.ids for hits in found] == [[1, 2], [1, 3], []]
            ids, _ = await docs.batch_query("words", ["sea", lanner.TextQuery("sky -red")], limit=1)
            assert ids.tolist() == [[2], [1]]
            searches = [lanner.Search("words", "red sky"), lanner.Search("v", [0, 1])]
            assert (await docs.fuse(searches, limit=3)).ids[0] == 1
            assert (await docs.rescore("words", "blue", "v", [0, 1])).ids == [2, 1]
            assert await docs.count(lanner.field("text").matches("sky")) == 2
            assert (await docs.explain("words", "sea"))[0].source == "text standard, 1 word"

    asyncio.run(main())


def test_hits_have_parts_of_their_texts(db: lanner.Database) -> None:
    docs = db.create_collection("docs", {"words": lanner.text("title", "body", analyzer="english")})
    texts = [{"title": "Höhe of skies", "body": "x " * 200 + "the sky is blue " + "y " * 200}, {"body": "no"}]
    docs.upsert(ids=[1, 2], payloads=texts)
    (hit,) = docs.query("words", "blue sky", highlight=lanner.Highlight(length=20))
    assert [part.path for part in hit.fragments] == ["body", "title"]
    body, title = hit.fragments
    assert body.marked("<", ">") == "the <sky> is <blue> y y"
    # By characters, not by bytes.
    assert title == lanner.Fragment("title", "Höhe of skies", ((8, 13),))
    assert title.text[8:13] == "skies"
    (hit,) = docs.query("words", "blue", highlight=True)
    assert len(hit.fragments[0].text) <= 200
    assert docs.query("words", "blue", highlight=False)[0].fragments == ()
    assert docs.fuse([lanner.Search("words", "blue", highlight=True)])[0].fragments
    assert docs.batch_query("words", ["blue"], highlight=True)[0][0].fragments
    with pytest.raises(lanner.InvalidInput, match=r"highlight.fragments: expected 1 to 16, got 0"):
        docs.query("words", "blue", highlight=lanner.Highlight(0))
    with pytest.raises(lanner.InvalidInput, match=r"highlight: expected lanner.Highlight"):
        docs.query("words", "blue", highlight="yes")  # type: ignore[arg-type]
