"""A package for late interaction as a worker of `multivector.py`, in a process of its own:

    multivector_worker.py ENGINE build DIR INDEX VARIANT    prints the seconds
    multivector_worker.py ENGINE search DIR INDEX CORES     answers each line of settings by a line

Lines and VARIANT are JSON. Settings that are left out are the engine's defaults.
"""

import json
import os
import sys
import time
from pathlib import Path

# A script of this folder has the name of the package.
sys.path.remove(os.path.dirname(os.path.abspath(__file__)))

import numpy as np

HITS = 10


class Lanner:
    def __init__(self, index, cores):
        import lanner

        self.package, self.index, self.cores = lanner, index, cores

    def open(self):
        self.database = self.package.open(self.index, threads=self.cores, build_threads=self.cores)

    def build(self, documents, variant):
        """Written, trained and encoded; without queries."""
        self.open()
        field = self.package.multivector(documents[0].shape[1], recent_queries=0, **variant)
        collection = self.database.create_collection("c", {"tokens": field})
        started = time.perf_counter()
        collection.upsert(ids=range(len(documents)), vectors={"tokens": documents}, progress=False)
        collection.optimize(progress=False)
        seconds = time.perf_counter() - started
        self.database.close()
        return seconds

    def load(self):
        self.open()
        self.collection = self.database["c"]

    def prepare(self, queries):
        return queries

    def ask(self, query, setting):
        return self.collection.query("tokens", query, limit=HITS, with_payload=False, **setting).ids

    def rest(self):
        """Ends what queries started in the background."""
        self.collection.optimize(progress=False)


class Torch:
    """Packages on torch, which does the work of a query on so many threads."""

    def __init__(self, index, cores):
        import torch

        torch.set_num_threads(cores)
        self.torch, self.index, self.cores = torch, index, cores

    def prepare(self, texts):
        return [self.torch.from_numpy(text) for text in texts]

    def rest(self):
        pass


class FastPlaid(Torch):
    def __init__(self, index, cores):
        super().__init__(index, cores)
        from fast_plaid import search

        self.package = search

    def load(self):
        self.engine = self.package.FastPlaid(index=self.index, device="cpu")

    def build(self, documents, variant):
        self.load()
        documents = self.prepare(documents)
        started = time.perf_counter()
        self.engine.create(documents_embeddings=documents, **variant)
        return time.perf_counter() - started

    def ask(self, query, setting):
        [found] = self.engine.search(query[None], top_k=HITS, show_progress=False, **setting)
        return [row for row, _ in found]


class XtrWarp(Torch):
    def __init__(self, index, cores):
        super().__init__(index, cores)
        from xtr_warp import XTRWarp

        self.engine = XTRWarp(index)

    def load(self):
        self.engine.load(device="cpu")

    def build(self, documents, variant):
        documents = self.prepare(documents)
        started = time.perf_counter()
        self.engine.create(documents, device="cpu", show_progress=False, **variant)
        return time.perf_counter() - started

    def ask(self, query, setting):
        [found] = self.engine.search(query, HITS, num_threads=self.cores, show_progress=False, **setting)
        return [row for row, _ in found]


ENGINES = {"lanner": Lanner, "fast-plaid": FastPlaid, "xtr-warp": XtrWarp}


def documents_of(folder):
    tokens = np.load(folder / "corpus_tokens.i8.npy").astype(np.float32) / np.float32(127)
    return split(tokens, np.load(folder / "corpus_tokens_offsets.i64.npy"))


def queries_of(folder):
    tokens = np.load(folder / "queries_tokens.f32.npy")
    return split(tokens, np.load(folder / "queries_tokens_offsets.i64.npy"))


def split(tokens, starts):
    return [tokens[a:b] for a, b in zip(starts, starts[1:])]


def resident():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def search(engine, queries, lines):
    queries = engine.prepare(queries)
    before = resident()
    engine.load()
    for line in lines:
        setting = json.loads(line)
        ids, seconds = [], []
        for query in queries:
            started = time.perf_counter()
            found = engine.ask(query, setting)
            seconds.append(time.perf_counter() - started)
            ids.append([int(row) for row in found])
        engine.rest()
        print(json.dumps({"ids": ids, "seconds": seconds, "resident": resident() - before}), flush=True)


def main(name, action, folder, index, argument):
    if action == "build":
        engine = ENGINES[name](index, len(os.sched_getaffinity(0)))
        seconds = engine.build(documents_of(Path(folder)), json.loads(argument))
        print(json.dumps({"seconds": seconds}))
    else:
        search(ENGINES[name](index, int(argument)), queries_of(Path(folder)), sys.stdin)


if __name__ == "__main__":
    main(*sys.argv[1:])
