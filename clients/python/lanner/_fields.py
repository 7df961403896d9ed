"""Settings of vector fields and payload paths."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Literal

from ._errors import InvalidInput

Metric = Literal["cosine", "dot", "l2"]
ElementType = Literal["f32", "f16"]
Memory = Literal["pinned", "cached", "cold"]
PayloadType = Literal["keyword", "integer", "float", "boolean", "datetime"]

_TYPES: dict[Any, str] = {
    str: "keyword",
    int: "integer",
    float: "float",
    bool: "boolean",
    datetime: "datetime",
    date: "datetime",
}


class Field:
    """Settings of one vector field; made by `lanner.vector` and `lanner.multivector`."""

    __slots__ = (
        "compression",
        "dimension",
        "element",
        "encoding",
        "index",
        "kind",
        "memory",
        "metric",
        "recent_queries",
        "token_pooling",
    )

    kind: str
    dimension: int
    metric: str
    element: str
    compression: str
    index: str
    memory: str
    encoding: str
    token_pooling: int
    recent_queries: int

    def __init__(self, **settings: Any) -> None:
        for name in self.__slots__:
            object.__setattr__(self, name, settings[name])

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("the settings of a field do not change")

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Field) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(tuple(self._settings().values()))

    def __repr__(self) -> str:
        multi = self.kind == "multi"
        plain = (multivector if multi else vector)(self.dimension, self.metric)  # type: ignore[arg-type]
        changed = [
            f", {name}={getattr(self, name)!r}"
            for name in self.__slots__
            if getattr(self, name) != getattr(plain, name)
        ]
        name = "multivector" if multi else "vector"
        return f"lanner.{name}({self.dimension}, {self.metric!r}{''.join(changed)})"


def vector(
    dimension: int,
    metric: Metric = "cosine",
    *,
    element: ElementType = "f32",
    compression: str | None = "auto",
    index: str = "auto",
    memory: Memory = "cached",
    recent_queries: int = 1024,
) -> Field:
    """A field of one vector a point.

    Args:
        dimension: Length of each vector, 1 to 65,536.
        metric: How vectors are compared. Scores are higher-is-better for each: the cosine, the dot
            product, or for `"l2"` the negative squared distance.
        element: How elements are stored: `"f32"`, or `"f16"` at half the bytes.
        compression: Codes that are searched: `"auto"` measures which keep the neighbours, `None` scans
            the vectors themselves, and as in `"lvq4:192/lvq8/drop-raw"` they are chosen
            (docs/quantization.md).
        index: What large segments get: `"auto"`, `"graph"`, `"ivf"` or `"flat"`, with settings as in
            `"graph:degree=32:window=100"` (docs/indexes.md).
        memory: Which sealed bytes stay in memory: `"pinned"`, `"cached"` or `"cold"`.
        recent_queries: Number of queries that are kept to calibrate a target recall by; 0 keeps none.
    """
    return Field(
        kind="single",
        dimension=dimension,
        metric=metric,
        element=element,
        compression="none" if compression is None else compression,
        index=index,
        memory=memory,
        encoding="auto",
        token_pooling=1,
        recent_queries=recent_queries,
    )


def multivector(
    dimension: int,
    metric: Metric = "dot",
    *,
    element: ElementType = "f32",
    compression: str | None = "auto",
    encoding: str = "auto",
    index: str = "auto",
    memory: Memory = "cached",
    token_pooling: int = 1,
    recent_queries: int = 1024,
) -> Field:
    """A field of many vectors a point, one a token, compared by MaxSim (late interaction, ColBERT).

    The score of a point is the sum, over the vectors of the query, of the best similarity with one of
    the point's vectors; higher is better.

    Args:
        dimension: Length of each vector, 1 to 65,536.
        metric: How two vectors are compared: `"dot"`, `"cosine"` or `"l2"`.
        encoding: How the vectors of a point become the one by which candidates are found: `"auto"`, or
            MUVERA's encodings with settings as in `"fde:repetitions=10"` (docs/multivector.md).
        token_pooling: Number of similar vectors of a point that are replaced by their mean; 1 keeps all.

    The other settings are those of `lanner.vector`.
    """
    return Field(
        kind="multi",
        dimension=dimension,
        metric=metric,
        element=element,
        compression="none" if compression is None else compression,
        index=index,
        memory=memory,
        encoding=encoding,
        token_pooling=token_pooling,
        recent_queries=recent_queries,
    )


def config(fields: Mapping[str, Field], payload: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of a collection as the native module reads them."""
    if not isinstance(fields, Mapping):
        raise InvalidInput(f"fields: expected a dict of names and fields, got {type(fields).__name__}")
    settings = {}
    for name, value in fields.items():
        if not isinstance(value, Field):
            got = f"{type(value).__name__} for {name!r}"
            raise InvalidInput(f"fields: expected lanner.vector(…) or lanner.multivector(…), got {got}")
        settings[name] = value._settings()
    return {
        "fields": settings,
        "payload": {path: payload_type(path, of) for path, of in (payload or {}).items()},
    }


def payload_type(path: str, of: Any) -> str:
    """The name of the type of a payload path, from its name or a type of Python."""
    name = _TYPES.get(of, of) if isinstance(of, (type, str)) else of
    if name not in _TYPES.values():
        expected = "keyword, integer, float, boolean or datetime"
        raise InvalidInput(f"payload.{path}: expected {expected}, got {of!r}")
    return str(name)
