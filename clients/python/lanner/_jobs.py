"""Work in the background that somebody asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._errors import NotFound
from ._progress import Bar

if TYPE_CHECKING:
    from . import _native

__all__ = ["Job"]


class Job:
    """Work in the background: `optimize`, `train` or `verify`. It goes on when this object is gone.

    The attributes are as of when the job was last looked at; `refresh` looks again.
    """

    __slots__ = ("_backend", "_info")

    def __init__(self, backend: _native.Backend, info: _native.JobParts) -> None:
        self._backend = backend
        self._info = info

    @property
    def id(self) -> int:
        """Its number, of no other job since the database was opened."""
        return self._info[0]

    @property
    def kind(self) -> str:
        """`optimize`, `train` or `verify`."""
        return self._info[1]

    @property
    def collection(self) -> str:
        """The name of its collection."""
        return self._info[2]

    @property
    def state(self) -> str:
        """`running`, `done`, `failed` or `cancelled`."""
        return self._info[3]

    @property
    def reason(self) -> str | None:
        """Why it failed, if it did."""
        return self._info[4]

    @property
    def phase(self) -> str:
        """What it is doing, in a word: waiting, sealing, merging, indexing, reading, ended."""
        return self._info[5]

    @property
    def done(self) -> int:
        """Steps of the phase that are done."""
        return self._info[6]

    @property
    def total(self) -> int:
        """Steps of the phase; 0 if that is not known."""
        return self._info[7]

    @property
    def seconds(self) -> float:
        """Seconds since it was asked for, or that it took."""
        return self._info[8]

    def refresh(self) -> Job:
        """Looks how far it is."""
        found = [info for info in self._backend.jobs() if info[0] == self.id]
        if not found:
            raise NotFound(f"job {self.id} does not exist, or it ended long ago")
        self._info = found[0]
        return self

    def wait(self, progress: bool | None = None) -> Job:
        """Waits until it has ended, and raises why it failed. Ctrl-C cancels it."""
        with Bar(progress, f"{self.kind} {self.collection}", None, " steps") as bar:
            self._backend.wait(
                self.id, lambda info: bar.show(f"{info[1]} {info[2]}: {info[5]}", info[6], info[7])
            )
        return self.refresh()

    def cancel(self) -> None:
        """Asks it to end. What it has done by then stays."""
        self._backend.cancel(self.id)

    def __repr__(self) -> str:
        share = f" {100 * min(self.done, self.total) // self.total}%" if self.total else ""
        state = f"{self.phase}{share}" if self.state == "running" else self.state
        return f"Job({self.id}, {self.kind} {self.collection}: {state}, {self.seconds:.1f} s)"
