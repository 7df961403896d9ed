"""Lanner in VectorDBBench."""

from contextlib import contextmanager
from typing import ClassVar

import numpy as np
from vectordb_bench.backend.filter import Filter, FilterOp
from vectordb_bench.backend.payload import PayloadProfile

import lanner

from ..api import VectorDB
from .config import LannerIndexConfig

FIELD = "vector"


class Lanner(VectorDB):
    """A collection whose point ids are the row ids of the data set.

    Filters compare the payload's `id` (an integer) and `labels` (a keyword).
    """

    name = "Lanner"
    supported_filter_types: ClassVar[list[FilterOp]] = [
        FilterOp.NonFilter,
        FilterOp.NumGE,
        FilterOp.StrEqual,
    ]
    thread_safe = True

    def __init__(
        self,
        dim: int,
        db_config: dict,
        db_case_config: LannerIndexConfig | None,
        collection_name: str = "vdbbench",
        drop_old: bool = False,
        **kwargs,
    ) -> None:
        config = db_case_config or LannerIndexConfig()
        self.db_config = db_config
        self.collection_name = collection_name
        self._search = config.search_param()
        self._filter = None
        self._database = None
        self._collection = None
        fields = {FIELD: lanner.vector(dim, **config.index_param())}
        with self._open() as database:
            if drop_old and collection_name in database:
                database.drop(collection_name)
            database.create_collection(collection_name, fields, {"id": int, "labels": str}, exist_ok=True)

    def _open(self) -> lanner.Database:
        if self.db_config["address"] is None:
            return lanner.open(self.db_config["path"])
        return lanner.connect(self.db_config["address"], api_key=self.db_config["api_key"])

    @contextmanager
    def init(self):
        """Opens or connects, once in each process."""
        with self._open() as self._database:
            self._collection = self._database[self.collection_name]
            yield
        self._database = self._collection = None

    def insert_embeddings(
        self,
        embeddings: list[list[float]],
        metadata: list[int],
        labels_data: list[str] | None = None,
        tenant_labels_data: list[str] | None = None,
        **kwargs,
    ) -> tuple[int, Exception | None]:
        """Writes a batch: [rows, dimension], and the ids of its rows."""
        if labels_data is None:
            payloads = [{"id": int(id)} for id in metadata]
        else:
            payloads = [
                {"id": int(id), "labels": label} for id, label in zip(metadata, labels_data, strict=True)
            ]
        vectors = np.asarray(embeddings, dtype=np.float32)
        try:
            stored = self._collection.upsert(
                ids=np.asarray(metadata, dtype=np.int64), vectors=vectors, payloads=payloads, progress=False
            )
        except lanner.Error as error:
            return error.stored or 0, error
        return stored, None

    def prepare_filter(self, filters: Filter) -> None:
        """Sets the filter of the searches that follow."""
        if filters.type == FilterOp.NonFilter:
            self._filter = None
        elif filters.type == FilterOp.NumGE:
            self._filter = lanner.field("id") >= filters.int_value
        elif filters.type == FilterOp.StrEqual:
            self._filter = lanner.field("labels") == filters.label_value
        else:
            msg = f"filters: expected one of {self.supported_filter_types}, got {filters.type}"
            raise ValueError(msg)

    def search_embedding(
        self,
        query: list[float],
        k: int = 100,
        payload_profile: PayloadProfile = PayloadProfile.IDS_ONLY,
        tenant: str | None = None,
    ) -> list[int]:
        """Row ids of the k nearest, nearest first."""
        vector = np.asarray(query, dtype=np.float32)
        hits = self._collection.query(
            FIELD, vector, limit=k, filter=self._filter, with_payload=False, **self._search
        )
        return hits.ids

    def optimize(self, data_size: int | None = None) -> None:
        """Seals, merges and indexes all that was written, and waits."""
        self._collection.optimize(progress=False)
