"""Payloads to JSON text. What JSON cannot hold is refused with its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from ._errors import InvalidInput
from ._lazy import json

__all__ = ["encode", "encode_all", "plain"]

_encoder: Callable[[Any], str] | None = None


def encode(payload: Any, name: str) -> str | None:
    """The JSON text of a payload; `None` of none."""
    if payload is None:
        return None
    if not isinstance(payload, Mapping):
        raise InvalidInput(f"{name}: expected a dict or None, got {type(payload).__name__}")
    global _encoder
    if _encoder is None:
        _encoder = json.JSONEncoder(
            ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other
        ).encode
    try:
        text = _encoder(payload if isinstance(payload, dict) else dict(payload))
        text.encode()
    except (TypeError, ValueError, RecursionError):
        # Found again with its place, which the encoder does not know.
        return str(json.dumps(plain(payload, name), ensure_ascii=False, separators=(",", ":")))
    return text


def encode_all(payloads: Iterable[Any], name: str = "payloads") -> list[str | None]:
    """The JSON texts of payloads."""
    return [encode(payload, f"{name}[{at}]") for at, payload in enumerate(payloads)]


def _other(value: Any) -> Any:
    return _scalar(value, "")


def plain(value: Any, name: str, depth: int = 0) -> Any:
    """A value of types that JSON has; what it cannot hold is refused, named by its place."""
    if depth > 120:
        raise InvalidInput(f"{name}: expected at most 120 levels, got more (or a cycle)")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _text(value, name)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"{name}: expected a finite number, got {value}")
        return value
    if isinstance(value, Mapping):
        members = {}
        for key, member in value.items():
            if not isinstance(key, str):
                raise InvalidInput(f"{name}: expected texts as keys, got {key!r}")
            members[_text(key, name)] = plain(member, f"{name}.{key}", depth + 1)
        return members
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [plain(element, f"{name}[{at}]", depth + 1) for at, element in enumerate(value)]
    scalar = _scalar(value, name)
    return scalar if isinstance(scalar, str) else plain(scalar, name, depth + 1)


def _text(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{name}: expected Unicode text, got a lone surrogate in {value!r}") from None
    return str(value)


def _scalar(value: Any, name: str) -> Any:
    """A value of a type that JSON lacks, as one that it has."""
    place = f"{name}: " if name else ""
    if isinstance(value, datetime):
        if value != value:
            raise InvalidInput(f"{place}expected a moment, got NaT; leave the member out")
        if value.tzinfo is None:
            expected = "a datetime with a time zone (tzinfo)"
            raise InvalidInput(f"{place}expected {expected}, got {value.isoformat()} without one")
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    # Scalars and arrays of numpy, and tensors.
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        kind = getattr(value.dtype, "kind", "f")
        if kind in "biufU":
            return value.tolist()
        raise InvalidInput(f"{place}expected numbers, texts or booleans, got {value.dtype}")
    expected = "a value that JSON can hold (texts, numbers, booleans, None, lists, dicts, datetimes)"
    raise InvalidInput(f"{place}expected {expected}, got {type(value).__name__}")
