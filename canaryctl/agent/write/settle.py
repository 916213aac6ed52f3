"""Write `change.json`, each step of a change under the kernel's lock on its directory."""

from __future__ import annotations

import errno
import json
import os
import time
from typing import Any

from .atomic import write_atomic
from .turn import turn

_READ_TRIES, _READ_PAUSE = 10, 0.05  # seconds
CHANGE_MODE = 0o600  # what the services said last may be in it


def read_change(path: str) -> dict[str, Any] | None:
    """The change at `path`; None where there is none that could be read."""
    try:
        with open(path, encoding="utf-8") as file:
            change = json.load(file)
    except (OSError, ValueError):
        return None
    known = isinstance(change, dict) and {"id", "phase", "confirm", "back", "begun"} <= set(change)
    return change if known else None


def read_whole(path: str) -> dict[str, Any] | None:
    """As `read_change`. Where the disk is full it is written in its place, and may be read half-way: then once more."""
    for _ in range(_READ_TRIES):
        change = read_change(path)
        if change is not None or not os.path.lexists(path):
            return change
        time.sleep(_READ_PAUSE)
    return None


def write_change(path: str, change: dict[str, Any]) -> None:
    """Write it whole, or where the disk is full into the room that it has. Raises OSError: what was there is there.

    On the disk when this returns: after a power loss some file systems (XFS) have an empty file in the place of one
    that was renamed and not synced, and then nobody knows of the change.
    """
    content = json.dumps(change, sort_keys=True).encode() + b"\n"
    try:
        write_atomic(path, content, CHANGE_MODE, sync=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not os.path.exists(path):
            raise
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(handle).st_size
            before = os.pread(handle, size, 0)
            if os.pwrite(handle, content, 0) < len(content):  # it takes a block more than there was
                os.pwrite(handle, before, 0)
                os.ftruncate(handle, size)
                raise
            os.ftruncate(handle, len(content))
            os.fsync(handle)
        finally:
            os.close(handle)


def advance(path: str, identity: str, phases: tuple[str, ...], phase: str, **values: Any) -> str:
    """Take the change `identity` from one of `phases` to `phase`; which one it is in then, '' where it is gone.

    Raises OSError.
    """
    with turn(path):
        change = read_change(path)
        if change is None or change["id"] != identity:
            return ""
        if change["phase"] in phases:
            change.update(values, phase=phase)
            write_change(path, change)
        return str(change["phase"])


def confirm(path: str, identity: str) -> str:
    """Let what serves stay; the phase that the change is in then, '' where it is gone.

    One that found nothing to go back to serves what its operator has judged: that may still be confirmed.
    """
    change = read_change(path)
    stranded = () if change is None or change["back"] else ("stranded",)
    return advance(path, identity, ("begun", "started", "failed", *stranded), "confirmed")


def give_up(path: str, identity: str) -> str:
    """Its operator does not want the change any more: it is taken back at once, unless it is settled already.

    Which phase it is in, '' where it is gone. Raises OSError.
    """
    with turn(path):
        change = read_change(path)
        if change is None or change["id"] != identity:
            return ""
        if change["phase"] in ("begun", "started", "failed"):
            write_change(path, dict(change, unwanted=True))
        return str(change["phase"])


def forget(path: str) -> None:
    """Nothing is to be taken back any more: somebody else has seen to what serves. Raises OSError."""
    with turn(path):
        if os.path.lexists(path):
            os.unlink(path)
