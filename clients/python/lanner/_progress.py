"""Progress bars, where tqdm is installed."""

from __future__ import annotations

import sys
from typing import Any


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class Bar:
    """A bar of tqdm, or nothing.

    `progress=None` shows one on a terminal or in a notebook, after a second; `True` always, `False` never.
    """

    def __init__(self, progress: bool | None, what: str, total: int | None, unit: str) -> None:
        self._bar: Any = None
        if progress is False:
            return
        # Only a program that shows bars has imported what makes a notebook.
        if progress is None and not (_is_terminal() or "ipykernel" in sys.modules):
            return
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return
        delay = 1.0 if progress is None else 0.0
        self._bar = tqdm(total=total, desc=what, unit=unit, unit_scale=True, delay=delay, leave=False)

    def add(self, steps: int) -> None:
        """So many steps more."""
        if self._bar is not None:
            self._bar.update(steps)

    def show(self, what: str, done: int, total: int) -> None:
        """What is done now, and how much of it."""
        if self._bar is not None:
            self._bar.set_description(what, refresh=False)
            self._bar.total = total or None
            self._bar.n = min(done, total) if total else done
            self._bar.refresh()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
