"""Filters: `lanner.field("year") >= 2000`, or the engine's JSON form as a dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, Union

from ._errors import InvalidInput
from ._lazy import json
from ._payloads import plain

__all__ = ["Condition", "FieldPath", "Filter", "field", "has_id", "to_json"]


class Condition:
    """Which points match. Combine conditions with `&`, `|` and `~`."""

    __slots__ = ("_tree",)

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = dict(tree)

    def to_dict(self) -> dict[str, Any]:
        """The condition in the engine's JSON form (docs/filters.md)."""
        return self._tree

    def __and__(self, other: Filter) -> Condition:
        return _joined("and", self, other)

    def __rand__(self, other: Filter) -> Condition:
        return _joined("and", _condition(other), self)

    def __or__(self, other: Filter) -> Condition:
        return _joined("or", self, other)

    def __ror__(self, other: Filter) -> Condition:
        return _joined("or", _condition(other), self)

    def __invert__(self) -> Condition:
        return Condition({"not": self._tree})

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a condition is neither true nor false: combine conditions with &, | and ~ (in parentheses) "
            "instead of `and`, `or`, `not`, and write a < x < b as field.between(a, b)"
        )

    def __repr__(self) -> str:
        return f"lanner.Condition({self._tree!r})"


Filter = Union[Condition, Mapping[str, Any]]


class FieldPath:
    """A payload path in a filter; made by `lanner.field`."""

    __slots__ = ("_path",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, path: str) -> None:
        if not isinstance(path, str) or not path:
            raise InvalidInput(f"field: expected a payload path, got {path!r}")
        self._path = path

    def _test(self, **tests: Any) -> Condition:
        values = {name: plain(value, f"filter.{self._path}") for name, value in tests.items()}
        return Condition({"field": self._path, **values})

    def __eq__(self, value: Any) -> Condition:  # type: ignore[override]
        return self.is_null() if value is None else self._test(eq=value)

    def __ne__(self, value: Any) -> Condition:  # type: ignore[override]
        return ~self.is_null() if value is None else self._test(ne=value)

    def __lt__(self, value: Any) -> Condition:
        return self._test(lt=value)

    def __le__(self, value: Any) -> Condition:
        return self._test(lte=value)

    def __gt__(self, value: Any) -> Condition:
        return self._test(gt=value)

    def __ge__(self, value: Any) -> Condition:
        return self._test(gte=value)

    def between(self, least: Any, most: Any) -> Condition:
        """A value from `least` to `most`, both included."""
        return self._test(gte=least, lte=most)

    def is_in(self, values: Iterable[Any]) -> Condition:
        """One of these values."""
        return self._test(**{"in": list(values)})

    def not_in(self, values: Iterable[Any]) -> Condition:
        """None of these values; also points without a value."""
        return self._test(nin=list(values))

    def matches(self, text: str) -> Condition:
        """The words of a text, all of them, in any order; the path is one of a text field, or its name.

        `-word` is excluded, and the other operators are those of `lanner.TextQuery`. The name of the field
        stands for all of its paths (docs/text.md).
        """
        return self._test(match=text)

    def exists(self) -> Condition:
        """Any value, which `null` is not."""
        return self._test(exists=True)

    def is_null(self) -> Condition:
        """`null`, alone or in an array."""
        return self._test(null=True)

    def __repr__(self) -> str:
        return f"lanner.field({self._path!r})"


def field(path: str) -> FieldPath:
    """A payload path for filters, as in `lanner.field("meta.year") >= 2000`.

    Paths that the collection declares are fast; others are looked up in payloads. Where a path holds
    several values, one that matches is enough.
    """
    return FieldPath(path)


def has_id(*ids: Any) -> Condition:
    """The points of these ids."""
    return Condition({"ids": plain(list(ids), "filter.ids")})


def _condition(value: Filter) -> Condition:
    if isinstance(value, Condition):
        return value
    if isinstance(value, Mapping):
        return Condition(value)
    raise InvalidInput(f"filter: expected a condition or a dict, got {type(value).__name__}")


def _joined(word: str, left: Condition, right: Filter) -> Condition:
    trees = [left._tree, _condition(right)._tree]
    # a & b & c is one list of three.
    flat = [part for tree in trees for part in (tree[word] if list(tree) == [word] else [tree])]
    return Condition({word: flat})


def to_json(value: Filter) -> str:
    """The JSON text of a filter."""
    tree = plain(_condition(value)._tree, "filter")
    return str(json.dumps(tree))
