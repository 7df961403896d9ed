"""One module for each peer. Each offers:

- `variants(dataset, quick)`: the indexes to build, as `Variant`s;
- `build(variant, dataset, base, threads, folder)`: builds one, returns it (this is timed);
- `save(index, folder)`: writes it, so that a fresh process can be measured with it;
- `Searcher(variant, dataset, folder, threads)`: loads it and searches. `one` and `batch` return what the
  library gives, `rows` turns that into row numbers [queries, k] outside of the timing.
"""

from dataclasses import dataclass, field
from importlib import import_module

import numpy as np

NAMES = ("faiss", "hnswlib", "usearch", "svs", "rabitq", "scann", "lorann", "qdrant")
K = 10


@dataclass
class Variant:
    """An index: `family` groups variants that compete for one line of a table."""

    family: str
    label: str
    parameters: dict = field(default_factory=dict)
    #: Whether it is built with `learning_queries`, and so must not be measured on them.
    learned: bool = False

    @property
    def key(self):
        text = f"{self.family} {self.label}".lower()
        return "".join(letter if letter.isalnum() else "-" for letter in text)


class Searching:
    """What most engines need not say."""

    #: Whether one query is a vector rather than a matrix of one row.
    flat_query = False
    #: Whether several threads may search one index at the same time.
    concurrent = True

    #: So many settings in a row must find enough before slower ones are skipped.
    patience = 2

    def enter_thread(self):
        """Called in each thread that asks single queries."""


def learning_queries(dataset):
    """Every other query of each distribution that is not the base's."""
    return np.concatenate([dataset.queries(query_set)[::2] for query_set in dataset.sets[1:]])


def judged(variant, dataset, query_set, rows):
    """The rows, one a query, of the queries that an index may be measured on."""
    seen = variant.learned and query_set != dataset.sets[0]
    return np.ascontiguousarray(rows[1::2]) if seen else rows


def engine(name):
    return import_module(f"engines.{name}_engine")


def windows(quick, low=10, high=1000):
    """Sizes of a search window: steps of 10 percent up to 100 (20 beyond, or if quick), at least 1."""
    size, sizes = low, []
    while size <= high:
        sizes.append(size)
        step = 1.2 if quick or size > 100 else 1.1
        size = max(size + 1, round(size * step))
    return sizes
