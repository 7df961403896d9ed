"""What calls fail with. Messages are the engine's own: where, what was expected, and what came."""

from __future__ import annotations

__all__ = [
    "AlreadyExists",
    "Cancelled",
    "Closed",
    "Corrupted",
    "DeadlineExceeded",
    "Error",
    "FailedPrecondition",
    "Forked",
    "Internal",
    "InvalidInput",
    "Locked",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
]


class Error(Exception):
    """Any failure of Lanner; the subclasses say what can be done about it."""

    stored: int | None = None
    """Points that `upsert` had stored before it failed; `None` for other calls."""


class InvalidInput(Error, ValueError):
    """Correct the argument that the message names. Nothing of the refused part was applied."""


class NotFound(Error, LookupError):
    """The collection, point or job does not exist."""


class AlreadyExists(Error):
    """There is a collection of this name already."""


class FailedPrecondition(Error):
    """Change the state first, as in a folder that holds something else than a database."""


class Locked(FailedPrecondition):
    """Another process, or another `lanner.open` of this one, has the database open."""


class Closed(FailedPrecondition):
    """The database was closed."""


class Forked(FailedPrecondition):
    """The database was opened before a fork, whose child has none of its threads: open it again there."""


class ResourceExhausted(Error):
    """Ask for less, or free some disk."""


class Unavailable(Error, ConnectionError):
    """The server is away, or writes are stopped: try again later."""


class DeadlineExceeded(Error, TimeoutError):
    """The call took longer than its `timeout`."""


class Cancelled(Error):
    """The call or the job was cancelled; what it had done by then stays."""


class Unauthenticated(Error):
    """The server wants a key, or another one."""


class PermissionDenied(Error):
    """The key may not do this."""


class Unsupported(Error):
    """Another version of Lanner wrote the files, or is behind the address."""


class Corrupted(Error):
    """Files are damaged; the message names file and section. Restore from a backup."""


class Internal(Error):
    """A failure of Lanner itself: please report it."""
