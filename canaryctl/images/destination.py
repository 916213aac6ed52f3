"""Where images of a stack are brought to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from canaryctl.errors import HostError
from canaryctl.hosts import Completed, Connection

# Seconds without a sign of life from a program there that takes or pulls images: it gives one every five.
SILENT = 60.0


@dataclass(frozen=True)
class Destination:
    """A host, the stack whose images it gets, and the locks (`path` and `owner`) that the run must still hold there."""

    connection: Connection
    stack: str
    locks: Sequence[Mapping[str, str]] = ()


def broken(host: str, does: str, done: Completed) -> HostError:
    """The error of a host whose program ended without its last word."""
    how = "was killed" if done.code == -1 else f"failed there (exit {done.code})"
    said = f": {done.complaint[-300:]}" if done.complaint else ""
    needed = "Python 3.7 or later is needed there; " if done.code != -1 else "see the host's log for what ended it; "
    return HostError(
        f"the program there that {does} {how}{said}", host, f"{needed}push again, it goes on from what has arrived"
    )


def silent(host: str, does: str) -> HostError:
    """The error of a host whose program gives no sign of life any more."""
    return HostError(
        f"nothing was heard for {SILENT:.0f} s of the program there that {does}",
        host,
        "see what the host is busy with, its disk and its Docker, then push again: it goes on from what has arrived",
    )
