"""Lanner in ann-benchmarks and in VIBE, whose interfaces are the same but for `fit_ood`."""

import tempfile

import numpy as np

import lanner

from ..base.module import BaseANN

METRICS = {"euclidean": "l2", "angular": "cosine", "cosine": "cosine", "normalized": "dot", "ip": "dot"}
# Training takes as many queries at most.
LEARN = 10_000


class Lanner(BaseANN):
    """The engine in this process, on one thread.

    Args:
        metric: `euclidean`, `angular`, `cosine`, `normalized` or `ip`.
        compression: Codes that are searched, as of `lanner.vector`.
        index: The index, as of `lanner.vector`.
    """

    def __init__(self, metric, compression="auto", index="graph"):
        if metric not in METRICS:
            raise ValueError(f"metric: expected {', '.join(METRICS)}, got {metric!r}")
        self.metric = metric
        self.compression = compression
        self.index = index
        self.options = {}
        self.name = str(self)

    def fit(self, X):
        """Builds the index: [rows, dimension]; ids are row numbers."""
        self._build(X, None)

    def fit_ood(self, X_train, X_learn, X_learn_neighbors):
        """As `fit`, with queries of the kind that will come, [queries, dimension]: they train compression.

        Their neighbours are not used.
        """
        self._build(X_train, X_learn[:LEARN])

    def _build(self, rows, queries):
        self._folder = tempfile.TemporaryDirectory(prefix="lanner-")
        self._database = lanner.open(self._folder.name, threads=1, index_rows=1_000)
        field = lanner.vector(
            rows.shape[1],
            METRICS[self.metric],
            compression=self.compression,
            index=self.index,
            recent_queries=0,
        )
        training = None if queries is None else {"v": queries}
        self._collection = self._database.create_collection("ann", {"v": field}, training=training)
        self._collection.upsert(ids=np.arange(len(rows)), vectors=rows, durability="buffered", progress=False)
        self._collection.optimize(progress=False)

    def set_query_arguments(self, search_window, rerank=None):
        """Rows of the graph (or lists) that are searched, and candidates that are scored again."""
        self.options = {"search_window": search_window, "rerank": rerank}
        self.name = str(self)

    def query(self, v, n):
        """Row numbers of the n nearest, nearest first."""
        hits = self._collection.query("v", v, limit=n, with_payload=False, **self.options)
        return np.array(hits.ids, dtype=np.int64)

    def batch_query(self, X, n):
        """Answers all queries together; `get_batch_results` returns the row numbers."""
        self.res = self._collection.batch_query("v", X, limit=n, **self.options).ids

    def done(self):
        """Closes the database and removes its folder."""
        self._database.close()
        self._folder.cleanup()

    def __str__(self):
        options = "".join(f", {name}={value}" for name, value in self.options.items() if value is not None)
        return f"Lanner({self.compression}, {self.index}{options})"
