"""Words by public packages: what docs/text.md compares Lanner with.

    run.sh text DOCUMENTS

Makes DOCUMENTS texts of words drawn by Zipf's law (exponent 1, 200,000 words, 8 to 60 words a text) from a
fixed seed, and 500 queries of three words each, of the ranks that questions have (one of the first 300,
two of the first 20,000). Each engine indexes them and answers the queries one by one, ten hits each:

- Lanner: points through the Python package, embedded; seconds until they are sealed and merged.
- tantivy: its Python package, one segment (BM25 with its constants k1 = 1.2 and b = 0.75).
- bm25s: numpy arrays, with its own words; its retrieval of a query at a time.

Engines take turns, three rounds each; medians of all rounds are printed. `taskset` pins queries to one core.
The hits of Lanner are compared with those of bm25s at the same k1 and b, by score.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time

# A script of this folder has the name of the package.
sys.path.remove(os.path.dirname(os.path.abspath(__file__)))

import bm25s
import lanner
import numpy as np
import tantivy

K1, B = 1.2, 0.75
ROUNDS = 3
HITS = 10


def texts(number, seed=7):
    random = np.random.default_rng(seed)
    words = np.array([word(rank) for rank in range(200_000)])
    shares = 1 / np.arange(1, len(words) + 1)
    lengths = random.integers(8, 61, number)
    drawn = random.choice(len(words), size=int(lengths.sum()), p=shares / shares.sum())
    parts = np.split(words[drawn], np.cumsum(lengths)[:-1])
    documents = [" ".join(part) for part in parts]
    ranks = np.stack([random.integers(0, 300, 500), *(random.integers(0, 20_000, 500) for _ in "ab")], axis=1)
    return documents, [" ".join(words[row]) for row in ranks]


def word(rank):
    """A word for a rank, of letters alone, so that every engine cuts texts alike."""
    letters = []
    while True:
        rank, letter = divmod(rank, 20)
        letters.append("bcdfghjklmnpqrstvwxz"[letter] + "aeiou"[letter % 5])
        if rank == 0:
            return "".join(letters)


def by_lanner(documents, folder):
    database = lanner.open(folder)
    field = lanner.text("text", k1=K1, b=B)
    collection = database.create_collection("c", {"words": field})
    started = time.perf_counter()
    for start in range(0, len(documents), 10_000):
        part = documents[start : start + 10_000]
        ids = list(range(start, start + len(part)))
        collection.upsert(ids=ids, payloads=[{"text": text} for text in part])
    written = time.perf_counter() - started
    collection.optimize(progress=False)
    seconds = time.perf_counter() - started
    print(f"lanner: written in {written:.2f} s, sealed and merged after {seconds:.2f} s")

    def ask(query):
        return collection.query("words", query, limit=HITS, with_payload=False)

    return seconds, ask, lambda answer: list(answer.scores)


def by_tantivy(documents, folder):
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=False)
    builder.add_unsigned_field("id", stored=True)
    index = tantivy.Index(builder.build(), path=folder)
    started = time.perf_counter()
    writer = index.writer(256 << 20, num_threads=2)
    for number, text in enumerate(documents):
        writer.add_document(tantivy.Document(text=[text], id=[number]))
    writer.commit()
    writer.wait_merging_threads()
    seconds = time.perf_counter() - started
    index.reload()
    searcher = index.searcher()

    def ask(query):
        return searcher.search(index.parse_query(query, ["text"]), HITS, count=False)

    return seconds, ask, lambda answer: [score for score, _ in answer.hits]


def by_bm25s(documents, folder):
    started = time.perf_counter()
    tokens = bm25s.tokenize(documents, stopwords=None, show_progress=False)
    index = bm25s.BM25(method="lucene", k1=K1, b=B)
    index.index(tokens, show_progress=False)
    seconds = time.perf_counter() - started

    def ask(query):
        words = bm25s.tokenize([query], stopwords=None, show_progress=False, return_ids=False)
        return index.retrieve(words, k=HITS, show_progress=False)

    return seconds, ask, lambda answer: [float(score) for score in answer.scores[0]]


def main(number):
    documents, queries = texts(number)
    print(f"{number} documents, {len(queries)} queries of three words")
    engines, built = {}, {}
    folder = tempfile.mkdtemp()
    try:
        for name, build in {"lanner": by_lanner, "tantivy": by_tantivy, "bm25s": by_bm25s}.items():
            own = os.path.join(folder, name)
            os.mkdir(own)
            built[name], ask, scores = build(documents, own)
            engines[name] = (ask, scores)
        os.sched_setaffinity(0, {0})
        times = {name: [] for name in engines}
        for _ in range(ROUNDS):
            for name, (ask, _) in engines.items():
                for query in queries:
                    started = time.perf_counter()
                    ask(query)
                    times[name].append(time.perf_counter() - started)
        for name, taken in times.items():
            micros = np.array(taken) * 1e6
            print(f"{name}: {number / built[name]:,.0f} documents/s; a query "
                  f"{statistics.median(micros):.0f} µs (median), {np.percentile(micros, 95):.0f} µs (p95)")
        compare(engines, queries)
    finally:
        shutil.rmtree(folder)


def compare(engines, queries):
    """The largest relative difference between scores at the same rank."""
    worst = 0.0
    for query in queries:
        found = [np.array(scores(ask(query))) for ask, scores in (engines["lanner"], engines["bm25s"])]
        shared = min(len(scores) for scores in found)
        own, other = (scores[:shared] for scores in found)
        worst = max(worst, float(np.max(np.abs(own - other) / np.maximum(other, 1e-6), initial=0)))
    print(f"scores of lanner and bm25s differ by at most {worst:.1e}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
