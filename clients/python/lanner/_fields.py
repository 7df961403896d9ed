"""Settings of fields and payload paths."""

from __future__ import annotations

import math
import numbers
import struct
from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Literal, Union

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


class _Settings:
    """Settings that do not change, by the names of the slots."""

    __slots__: tuple[str, ...] = ()
    kind: str

    def __init__(self, **settings: Any) -> None:
        for name in self.__slots__:
            object.__setattr__(self, name, settings[name])

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("the settings of a field do not change")

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Settings)
            and type(other) is type(self)
            and self._settings() == other._settings()
        )

    def __hash__(self) -> int:
        return hash(tuple(self._settings().values()))


class Field(_Settings):
    """Settings of one vector field; made by `lanner.vector`, `lanner.multivector` and `lanner.sparse`."""

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
    """`single`, `multi` or `sparse`."""
    dimension: int
    """Length of each vector; 0 for a sparse field, whose indices may be any below 2**32."""
    metric: str
    element: str
    compression: str
    index: str
    memory: str
    encoding: str
    token_pooling: int
    recent_queries: int

    def __repr__(self) -> str:
        if self.kind == "sparse":
            plain, name, arguments = sparse(), "sparse", []
        else:
            make = multivector if self.kind == "multi" else vector
            plain, name = make(self.dimension, self.metric), make.__name__  # type: ignore[arg-type]
            arguments = [str(self.dimension), repr(self.metric)]
        arguments += [
            f"{name}={getattr(self, name)!r}"
            for name in self.__slots__
            if getattr(self, name) != getattr(plain, name)
        ]
        return f"lanner.{name}({', '.join(arguments)})"


class TextField(_Settings):
    """Settings of one text field; made by `lanner.text`."""

    __slots__ = ("analyzer", "b", "k1", "kind", "paths")

    kind: str
    paths: Mapping[str, float]
    """Payload paths with their weights."""
    analyzer: str
    k1: float
    b: float

    def __init__(self, **settings: Any) -> None:
        rounded = {name: _single(settings[name]) for name in ("k1", "b")}
        paths = {path: _single(weight) for path, weight in sorted(settings["paths"].items())}
        super().__init__(**{**settings, **rounded, "paths": MappingProxyType(paths)})

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "paths": dict(self.paths)}

    def __hash__(self) -> int:
        return hash((tuple(self.paths.items()), self.analyzer, self.k1, self.b))

    def __repr__(self) -> str:
        is_plain = all(weight == 1 for weight in self.paths.values())
        paths = ", ".join(map(repr, self.paths)) if is_plain else repr(dict(self.paths))
        plain = text("text")
        changed = [
            f", {name}={getattr(self, name)!r}"
            for name in ("analyzer", "k1", "b")
            if getattr(self, name) != getattr(plain, name)
        ]
        return f"lanner.text({paths}{''.join(changed)})"


AnyField = Union[Field, TextField]


def _single(value: float) -> float:
    """A number in single precision, as the engine keeps it, by the fewest digits that say which it is."""
    try:
        stored = struct.pack("=f", value)
    except OverflowError:
        return float(value)
    (rounded,) = struct.unpack("=f", stored)
    digits = (float(f"{rounded:.{digits}g}") for digits in range(1, 10))
    return next(short for short in digits if struct.pack("=f", short) == stored)


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


def sparse(*, memory: Memory = "cached") -> Field:
    """A field of one sparse vector a point, compared by their dot product: learned sparse retrieval (SPLADE,
    BGE-M3), or words with weights of your own.

    A sparse vector has values at few of 2**32 dimensions, so that there is no dimension to give; they are 0 or
    more. Vectors are stored as they are, and sealed segments get an inverted index, which finds the exact
    best. A hit has an index in common with the query.

    Args:
        memory: Which sealed bytes stay in memory: `"pinned"`, `"cached"` or `"cold"`.
    """
    return Field(
        kind="sparse",
        dimension=0,
        metric="dot",
        element="f32",
        compression="auto",
        index="auto",
        memory=memory,
        encoding="auto",
        token_pooling=1,
        recent_queries=1024,
    )


def text(
    *paths: str | Mapping[str, float], analyzer: str = "standard", k1: float = 0.9, b: float = 0.4
) -> TextField:
    """A field of text, searched by words and scored by BM25.

    Its text is what payloads have at some paths, texts or lists of texts, so that points carry nothing
    beside their payload. A collection with a text field takes points without vectors.

    Args:
        paths: 1 to 16 payload paths, as in `lanner.text("title", "meta.abstract")`, or one dict of paths
            and weights, 0.001 to 1,000, as in `lanner.text({"title": 2, "text": 1})`: how many
            occurrences one at that path stands for (BM25F).
        analyzer: How texts and queries become words: `"standard"`; a language, whose stop words are left
            out and whose words are reduced to their stems, as in `"english"`; `"cjk"`, for Chinese,
            Japanese and Korean; or `"ngram:3"` or `"ngram:2-4"`, for search inside of words.
        k1: How soon further occurrences of a word stop to count, 0 to 10.
        b: How much the length of a text counts, 0 (not at all) to 1.
    """
    if not isinstance(analyzer, str):
        raise InvalidInput(f"analyzer: expected a text, got {type(analyzer).__name__}")
    return TextField(
        kind="text", paths=_weights(paths), analyzer=analyzer, k1=_number(k1, "k1"), b=_number(b, "b")
    )


def _weights(paths: tuple[Any, ...]) -> dict[str, float]:
    """Weights by payload path."""
    if len(paths) == 1 and isinstance(paths[0], Mapping):
        paths, weights = tuple(paths[0]), list(paths[0].values())
    else:
        weights = [1.0] * len(paths)
    if not paths:
        raise InvalidInput("paths: expected at least one payload path, got none")
    found: dict[str, float] = {}
    for at, (path, weight) in enumerate(zip(paths, weights)):
        if not isinstance(path, str):
            expected = "payload paths, or one dict of paths and weights"
            raise InvalidInput(f"paths[{at}]: expected {expected}, got {type(path).__name__}")
        if path in found:
            raise InvalidInput(f"paths[{at}]: expected each path once, got {path!r} again")
        found[path] = _number(weight, f"paths.{path}")
    return found


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InvalidInput(f"{name}: expected a finite number, got {value!r}")
    return float(value)


def vector_fields(fields: Mapping[str, AnyField]) -> dict[str, Field]:
    """The vector fields among the fields of a collection."""
    return {name: field for name, field in fields.items() if isinstance(field, Field)}


def config(fields: Mapping[str, AnyField], payload: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of a collection as the native module reads them."""
    if not isinstance(fields, Mapping):
        raise InvalidInput(f"fields: expected a dict of names and fields, got {type(fields).__name__}")
    settings = {}
    for name, value in fields.items():
        if not isinstance(value, (Field, TextField)):
            got = f"{type(value).__name__} for {name!r}"
            expected = "lanner.vector(…), lanner.multivector(…), lanner.sparse(…) or lanner.text(…)"
            raise InvalidInput(f"fields: expected {expected}, got {got}")
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
