"""LoRANN: lists of rows whose scores are predicted by a low-rank regression for each list, with re-ranking."""

import math

import lorann

from engines import K, Searching, Variant, learning_queries, windows

#: Dimensions that vectors are reduced to first: its documentation starts from 128. None takes all (codes: steps of 32).
SHARED = (128, 192)
#: Of 16, 32 and 64, which are all that the codes allow.
RANKS = (32, 64)
#: No more than six: measure.stalled compares so many settings with those before them.
RERANKED = (20, 40, 80, 160, 320, 640)


def variants(dataset, quick):
    rows, dimensions = dataset.shape()
    # About the root of the number of rows, as its documentation says, and twice that.
    root = 2 ** round(math.log2(rows**0.5))
    shared = [each for each in SHARED if each < dimensions] or [None]
    if quick:
        return [regression(8, root, shared[-1], rank) for rank in RANKS]
    found = [
        regression(8, lists, dims, rank)
        for lists in (root, 2 * root)
        for dims in shared
        for rank in RANKS
    ]
    found.append(regression(4, 2 * root, shared[-1], 64))
    found.append(regression(None, root, shared[-1], 32))
    if len(dataset.sets) > 1:
        found += [regression(8, root, shared[-1], rank, learned=True) for rank in RANKS]
    return found


def regression(bits, lists, dims, rank, learned=False):
    name = f"{bits} bits" if bits else "f32"
    name += ", learned" if learned else ""
    label = f"{lists} lists, {dims or 'all'} dims, rank {rank}"
    parameters = {"bits": bits, "lists": lists, "dims": dims, "rank": rank}
    return Variant(f"LoRANN {name}", label, parameters, learned)


def build(variant, dataset, base, threads, folder):
    parameters = variant.parameters
    index = lorann.LorannIndex(
        base,
        parameters["lists"],
        parameters["dims"],
        quantization_bits=parameters["bits"],
        rank=parameters["rank"],
        distance=lorann.IP,
    )
    learning = learning_queries(dataset) if variant.learned else None
    index.build(n_threads=threads, training_queries=learning)
    return index


def save(index, folder):
    index.save(str(folder / "index"))


class Searcher(Searching):
    # As many as there are numbers to re-rank for one number of lists.
    patience = len(RERANKED)

    def __init__(self, variant, dataset, folder, threads):
        self.index = lorann.LorannIndex.load(str(folder / "index"))
        self.lists = variant.parameters["lists"]
        self.threads = threads

    def settings(self, quick):
        reranked = RERANKED[1::2] if quick else RERANKED
        return [
            {"lists": lists, "reranked": rows}
            for lists in windows(True, low=4, high=min(400, self.lists))
            for rows in reranked
        ]

    def apply(self, setting):
        depth = (K, setting["lists"], setting["reranked"], False)
        search = self.index.search
        self.one = lambda part: search(part, *depth, 1)
        self.many = lambda queries: search(queries, *depth, self.threads)

    def batch(self, queries):
        return self.many(queries)

    def rows(self, raw):
        return raw
