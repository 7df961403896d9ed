"""Settings of Lanner in VectorDBBench."""

from pydantic import BaseModel, SecretStr

from ..api import DBCaseConfig, DBConfig, MetricType

METRICS = {MetricType.L2: "l2", MetricType.COSINE: "cosine", MetricType.IP: "dot", MetricType.DP: "dot"}


class LannerConfig(DBConfig):
    """A server (`address`), or a folder that one process at a time opens (`path`)."""

    address: str | None = None
    api_key: SecretStr | None = None
    path: str | None = None

    def to_dict(self) -> dict:
        if (self.address is None) == (self.path is None):
            msg = "expected either address or path"
            raise ValueError(msg)
        key = self.api_key.get_secret_value() if self.api_key else None
        return {"address": self.address, "api_key": key, "path": self.path}


class LannerIndexConfig(BaseModel, DBCaseConfig):
    """Settings of the field, as of `lanner.vector`, and of queries, as of `Collection.query`."""

    metric_type: MetricType | None = None
    compression: str = "auto"
    index: str = "auto"
    search_window: int | None = None
    rerank: int | None = None
    target_recall: float | None = None

    def index_param(self) -> dict:
        metric = self.metric_type or MetricType.COSINE
        if metric not in METRICS:
            msg = f"metric_type: expected L2, COSINE, IP or DP, got {metric}"
            raise ValueError(msg)
        return {"metric": METRICS[metric], "compression": self.compression, "index": self.index}

    def search_param(self) -> dict:
        given = {
            "search_window": self.search_window,
            "rerank": self.rerank,
            "target_recall": self.target_recall,
        }
        return {name: value for name, value in given.items() if value is not None}
