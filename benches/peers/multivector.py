"""Multi-vectors by public packages: what docs/multivector.md compares Lanner with.

    run.sh multivector DIR [ENGINE…]    DIR: corpus_tokens.i8.npy, queries_tokens.f32.npy, their offsets, and
                                        groundtruth_maxsim_top100.i32.npy; corpus.ids, queries.ids and
                                        qrels/test.tsv for nDCG
    run.sh multivector DIR encodings    parts of the way, on one core

Engines index the same tokens and answer the queries one by one, ten hits each:

- `lanner`: through its Python package, embedded, with default settings and targets, and without vectors
  (`auto/residual4/drop-raw`). It knows no queries.
- `next-plaid`: the Rust crate, with residuals of 4 bits (its default), 2 and 8.
- `fast-plaid`, `xtr-warp`: on torch, whose wheels take 5 GB: only if they are named.

Each builds on all cores. First every setting of a peer is looked at twice on one core; its defaults are measured,
and the fastest that reach a share of the exact ten. Then engines take turns, five rounds each, each in a process
of its own that has loaded what was written: pinned to one core, then with all. Times are of the best round, with
the mean of the worst, and hits of the best on one core; `share` is that of the exact MaxSim ten; resident memory
is that after all searches on one core, less what it was before loading. Bytes are those of the files that searches
need, of all in the folder.

`encodings`:

- `muvfde`: encodings of documents and queries (20 × 2⁵ × 16), time of each.
- FAISS: product quantization of these encodings (8 bits for 8 dimensions, as in the MUVERA paper),
  scanned: the share of the exact MaxSim ten among the first n candidates, time of a query.
- numpy: exact MaxSim of all documents, time of a query.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from multivector_worker import HITS, documents_of, queries_of

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lanner" / "peers"
WORKER = Path(__file__).with_name("multivector_worker.py")
CANDIDATES = (10, 20, 50, 100, 200, 500, 1000)
RUNS = 3
#: Rounds of the engines; settings that take so many seconds for all queries are in the first round only.
ROUNDS, SLOW = 5, 20
#: How often each setting is looked at, to choose.
LOOKS = 2
#: Shares of the exact ten, of each the fastest setting that reaches it is measured.
SHARES = (0.9, 0.95, 0.98)
#: Files of an index that searches do not need: Lanner's catalog with the journal of what was written last, and
#: the chunks that other engines have put together.
SPARE = re.compile(r"catalog/|\d+\.(codes|residuals|inv_norms)\.npy")
#: The fastest setting within this of the best share is measured, too.
NEAR = 0.002


@dataclass
class Variant:
    """An index of an engine, and the settings to look at, or to measure all of."""

    engine: str
    label: str
    build: object
    settings: list
    sweep: bool = True
    index: Path = None
    chosen: list = field(default_factory=list)
    #: Answers by number of cores and place of the setting.
    runs: dict = field(default_factory=dict)
    seconds: float = 0.0
    #: Bytes that searches need, and of the whole folder.
    bytes: tuple = ()

    def command(self, action, *arguments):
        if self.engine == "next-plaid":
            program = [CACHE / "target" / "release" / "next-plaid-peer"]
        else:
            venv = "venv" if self.engine == "lanner" else "venv-torch"
            program = [CACHE / venv / "bin" / "python", WORKER, self.engine]
        return [str(part) for part in (*program, action, *arguments)]


def grid(**values):
    return [dict(zip(values, setting)) for setting in itertools.product(*values.values())]


def variants(names):
    compact = {"compression": "auto/residual4/drop-raw"}
    targets = [{}, {"target_recall": 0.9}, {"target_recall": 0.95}]
    plaid = grid(
        n_ivf_probe=(2, 4, 8, 32), n_full_scores=(128, 256, 512, 1024, 4096), centroid_score_threshold=(0.4, None)
    )
    # Without kernels of their own: slow.
    eight = grid(n_ivf_probe=(8, 32), n_full_scores=(128, 512, 1024, 4096), centroid_score_threshold=(None,))
    warp = grid(
        nprobe=(2, 8, 32, 128), bound=(512, 4096), t_prime=(5_000, 50_000), centroid_score_threshold=(0.4, 0.0),
        max_candidates=(100_000,),
    )
    every = [
        Variant("lanner", "vectors kept", {}, targets, sweep=False),
        Variant("lanner", "codes only", compact, targets, sweep=False),
        Variant("next-plaid", "4 bits", 4, [{}, *plaid]),
        Variant("next-plaid", "2 bits", 2, [{}, *plaid]),
        Variant("next-plaid", "8 bits", 8, [{}, *eight]),
        Variant("fast-plaid", "4 bits", {}, [{}, *grid(n_ivf_probe=(4, 16), n_full_scores=(256, 1024))]),
        Variant("xtr-warp", "4 bits", {}, [{}, *warp]),
    ]
    unknown = set(names) - {variant.engine for variant in every}
    if unknown:
        raise SystemExit(f"no engine of the name {', '.join(sorted(unknown))}")
    return [variant for variant in every if variant.engine in names]


def environment(cores):
    # OpenBLAS is called from the threads of next-plaid.
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    return os.environ | {name: str(cores) for name in names} | {"OPENBLAS_NUM_THREADS": "1"}


class Worker:
    """A process that has loaded an index, and answers all queries by a setting."""

    def __init__(self, variant, folder, cores):
        self.variant = variant
        command = variant.command("search", folder, variant.index, cores)
        own = set(sorted(os.sched_getaffinity(0))[:cores])
        self.process = subprocess.Popen(
            command,
            env=environment(cores),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, own),
        )

    def ask(self, setting):
        self.process.stdin.write(json.dumps(setting) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(folder, chosen, scratch):
    cores = len(os.sched_getaffinity(0))
    truth = np.load(folder / "groundtruth_maxsim_top100.i32.npy")[:, :HITS]
    documents = len(np.load(folder / "corpus_tokens_offsets.i64.npy")) - 1
    judge = Judge(folder)
    for at, variant in enumerate(chosen):
        variant.index = scratch / str(at)
        build(variant, folder, cores)
        variant.chosen = look(variant, folder, truth) if variant.sweep else variant.settings
    before = work()
    for used in sorted({1, cores}):
        workers = [Worker(variant, folder, used) for variant in chosen]
        for _ in range(ROUNDS):
            for worker in workers:
                for at, setting in enumerate(worker.variant.chosen):
                    runs = worker.variant.runs.setdefault((used, at), [])
                    if not runs or sum(runs[0]["seconds"]) < SLOW:
                        runs.append(worker.ask(setting))
        for worker in workers:
            worker.close()
    passed, mine = work() - before
    print(f"\n{documents:,} documents, {len(truth)} queries, {cores} cores, of which other programs had "
          f"{1 - mine / passed:.0%} of what was used; ms are mean, median (mean of the worst round)\n")
    print("| engine | index | setting | nDCG@10 | share | ms, one core | ms, all cores | build, s "
          "| bytes a document | resident, MB |")
    print("|---" * 10 + "|")
    for variant in chosen:
        for at, setting in enumerate(variant.chosen):
            best, last = fastest_of(variant.runs[1, at]), variant.runs[1, at][-1]
            cells = (
                variant.engine,
                variant.label,
                named(setting),
                judge.ndcg(best["ids"]),
                f"{share(best['ids'], truth):.3f}",
                times(variant.runs[1, at]),
                times(variant.runs[cores, at]),
                f"{variant.seconds:.1f}",
                " of ".join(f"{size / documents:,.0f}" for size in variant.bytes),
                f"{last['resident'] / 2**20:.0f}",
            )
            print("|", " | ".join(cells), "|")


def work():
    """Ticks that all programs have worked, and those of this one and of its children that have ended."""
    busy = [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return np.array([sum(busy) - busy[3] - busy[4], sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK")])


def build(variant, folder, cores):
    command = variant.command("build", folder, variant.index, json.dumps(variant.build))
    done = subprocess.run(command, env=environment(cores), stdout=subprocess.PIPE, text=True, check=True)
    variant.seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
    files = [file for file in variant.index.rglob("*") if file.is_file()]
    files = {str(file.relative_to(variant.index)): file.stat().st_size for file in files}
    needed = sum(size for name, size in files.items() if not SPARE.match(name))
    variant.bytes = (needed, sum(files.values()))
    print(f"{variant.engine}, {variant.label}: built in {variant.seconds:.1f} s", flush=True)


def look(variant, folder, truth):
    """The defaults, and of all settings the fastest that reach a share of the exact ten."""
    worker = Worker(variant, folder, 1)
    seen = {}
    for _ in range(LOOKS):
        for at, setting in enumerate(variant.settings):
            if at in seen and seen[at][0] > SLOW:
                continue
            answer = worker.ask(setting)
            seconds, found = sum(answer["seconds"]), share(answer["ids"], truth)
            seen[at] = (min(seconds, seen.get(at, (seconds,))[0]), found, setting)
    for seconds, found, setting in seen.values():
        print(f"  {named(setting)}: {found:.3f}, {seconds / len(truth) * 1e3:.2f} ms", flush=True)
    worker.close()
    best = max(found for _, found, _ in seen.values())
    chosen = [variant.settings[0]]
    for least in (*(least for least in SHARES if least < best - NEAR), best - NEAR):
        setting = min((each for each in seen.values() if each[1] >= least), key=lambda each: each[0])[2]
        if setting not in chosen:
            chosen.append(setting)
    return chosen


def named(setting):
    return ", ".join(f"{name} {value}" for name, value in setting.items()) or "defaults"


def fastest_of(runs):
    return min(runs, key=lambda run: sum(run["seconds"]))


def times(runs):
    best, worst = fastest_of(runs)["seconds"], max(np.mean(run["seconds"]) for run in runs)
    return f"{np.mean(best) * 1e3:.2f}, {np.median(best) * 1e3:.2f} ({worst * 1e3:.2f})"


def share(ids, truth):
    return np.mean([len(set(found) & set(own)) / HITS for found, own in zip(ids, truth.tolist())])


class Judge:
    """nDCG@10 by the judgements, if there are any."""

    def __init__(self, folder):
        self.gains, path = {}, folder / "qrels" / "test.tsv"
        if not path.exists():
            return
        ids = ((folder / f"{name}.ids").read_text().splitlines() for name in ("corpus", "queries"))
        self.documents, self.queries = ids
        for line in path.read_text().splitlines()[1:]:
            query, document, gain = line.split("\t")
            self.gains.setdefault(query, {})[document] = int(gain)

    def ndcg(self, ids):
        if not self.gains:
            return ""
        discounts = 1 / np.log2(np.arange(HITS) + 2)
        values = []
        for query, found in zip(self.queries, ids):
            gains = self.gains.get(query, {})
            ideal = sorted(gains.values(), reverse=True)[:HITS]
            if any(ideal):
                got = [gains.get(self.documents[row], 0) for row in found]
                values.append(got @ discounts[: len(got)] / (ideal @ discounts[: len(ideal)]))
        return f"{np.mean(values):.4f}"


def encodings(folder):
    import faiss

    faiss.omp_set_num_threads(1)
    tokens = np.load(folder / "corpus_tokens.i8.npy").astype(np.float32) / np.float32(127)
    starts = np.load(folder / "corpus_tokens_offsets.i64.npy")
    truth = np.load(folder / "groundtruth_maxsim_top100.i32.npy")[:, :HITS]
    documents, queries = documents_of(folder), queries_of(folder)
    encoded, document_seconds = encode(documents, document=True)
    asked, query_seconds = encode(queries, document=False)
    print(f"muvfde: {len(documents) / document_seconds:,.0f} documents/s, "
          f"{query_seconds / len(queries) * 1e6:.0f} µs a query")
    print("candidates", *CANDIDATES)
    exact = asked @ encoded.T
    print("muvfde, f32:", *shares(np.argsort(-exact, axis=1, kind="stable"), truth))
    quantized(faiss, encoded, asked, truth)
    numpy_max_sim(tokens, starts, queries)


def encode(texts, document):
    import muvfde

    # Chained setters lose the object in this wheel.
    config = muvfde.fixed_dimensional_encoding_config()
    config.set_num_repetitions(20)
    config.set_num_simhash_projections(5)
    config.set_seed(42)
    kinds = muvfde.encoding_type
    config.set_encoding_type(kinds.AVERAGE if document else kinds.DEFAULT_SUM)
    config.set_projection_type(muvfde.projection_type.AMS_SKETCH)
    config.set_projection_dimension(16)
    if document:
        config.enable_fill_empty(True)
    started = time.perf_counter()
    encodings = [muvfde.generate_fixed_dimensional_encoding(text, config) for text in texts]
    return np.array(encodings, dtype=np.float32), time.perf_counter() - started


def shares(order, truth):
    ranks = np.argsort(order, axis=1)
    of_truth = np.take_along_axis(ranks, truth, axis=1)
    return [f"{(of_truth < candidates).mean():.3f}" for candidates in CANDIDATES]


def quantized(faiss, encoded, asked, truth):
    dimension = encoded.shape[1]
    index = faiss.IndexPQ(dimension, dimension // 8, 8, faiss.METRIC_INNER_PRODUCT)
    started = time.perf_counter()
    index.train(encoded)
    trained = time.perf_counter() - started
    index.add(encoded)
    search = lambda: [index.search(query[None], len(encoded))[1][0] for query in asked]
    order = np.array(search())
    seconds = fastest(lambda: [index.search(query[None], 1000) for query in asked])
    print(f"FAISS PQ, {index.sa_code_size()} bytes:", *shares(order, truth),
          f"trained in {trained:.1f} s, {seconds / len(asked) * 1e3:.2f} ms a query")


def numpy_max_sim(tokens, starts, queries):
    score = lambda query: np.maximum.reduceat(query @ tokens.T, starts[:-1], axis=1).sum(axis=0)
    seconds = fastest(lambda: [score(query) for query in queries])
    print(f"numpy, exact MaxSim: {seconds / len(queries) * 1e3:.1f} ms a query")


def fastest(run):
    def timed():
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return min(timed() for _ in range(RUNS))


if __name__ == "__main__":
    data, names = Path(sys.argv[1]), sys.argv[2:]
    if names == ["encodings"]:
        encodings(data)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            compare(data, variants(names or ["lanner", "next-plaid"]), Path(scratch))
