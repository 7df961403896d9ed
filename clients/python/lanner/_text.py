"""Queries on text fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _native
from ._errors import InvalidInput

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TextQuery", "are_texts", "queries"]


class TextQuery(_native.TextQuery):
    """A query on a text field with operators: `lanner.TextQuery('+sky "blue light"~2 -ocean scatter*')`.

    `+word` is required and `-word` excluded; other words are optional and add to the score. `"some words"`
    is a phrase, and `"some words"~2` one with up to two other words in between. `word*` stands for the
    words that begin so, `word~1` and `word~2` for those with up to one or two changes (a letter inserted,
    removed or replaced, or two neighbours exchanged). A backslash takes the next character as it is. A
    plain `str` as a query has no operators.

    Raises:
        InvalidInput: A quote has no partner, or there is no number where one belongs.
    """

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextQuery) and self.text == other.text

    def __hash__(self) -> int:
        return hash((TextQuery, self.text))

    def __repr__(self) -> str:
        return f"lanner.TextQuery({self.text!r})"


def are_texts(values: Any) -> bool:
    """Whether a list begins with a query for a text field."""
    return isinstance(values, (list, tuple)) and bool(values) and isinstance(values[0], (str, TextQuery))


def queries(values: Any, name: str) -> list[Any]:
    """Queries for a text field as the native module takes them: a list of texts."""
    if not isinstance(values, (str, bytes, TextQuery)):
        for method in ("to_pylist", "tolist", "to_list"):
            if hasattr(values, method):
                values = getattr(values, method)()
                break
        if isinstance(values, (list, tuple)):
            return list(values)
    expected = "a list of texts or lanner.TextQuery, for a text field"
    raise InvalidInput(f"{name}: expected {expected}, got {type(values).__name__} {str(values)[:40]!r}")
