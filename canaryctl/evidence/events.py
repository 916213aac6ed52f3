"""The event log of a run. Who writes it holds it, so that a killed run can be told from one that goes on."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any

from canaryctl.evidence.files import json_text
from canaryctl.evidence.private import file_mode

NAME = "events.jsonl"
PROGRESS = "push.progress"
_PROGRESS_EVERY = 0.5  # seconds, per host


class EventLog:
    """A run's events.jsonl, open and held until it is closed, or this process dies."""

    def __init__(self, directory: Path) -> None:
        self._file = (directory / NAME).open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        os.fchmod(self._file.fileno(), file_mode(directory))
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._progressed: dict[str, float] = {}

    def takes(self, kind: str, host: str) -> bool:
        """Whether there is room for such an event now: bytes arrive in small pieces, and would bury the log."""
        moment = time.monotonic()
        if kind != PROGRESS:
            return True
        if moment - self._progressed.get(host, -_PROGRESS_EVERY) < _PROGRESS_EVERY:
            return False
        self._progressed[host] = moment
        return True

    def append(self, event: dict[str, Any]) -> None:
        """Add an event. Raises OSError where it cannot be written."""
        self._file.write(json_text(event) + "\n")

    def close(self) -> None:
        """Let go of it. Raises OSError where the end of it cannot be written."""
        self._file.close()

    def sync(self) -> None:
        """Have it on the disk. Raises OSError where it cannot be."""
        self._file.flush()
        os.fsync(self._file.fileno())


def is_held(directory: Path) -> bool:
    """Whether the process that writes a run's log still lives."""
    try:
        with (directory / NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or a file system without locks
        return False
    return False


def has_ended(directory: Path) -> bool:
    """Whether a run's record is here, in `directory`, and the process that wrote it has ended, or was killed."""
    return (directory / NAME).is_file() and not is_held(directory)
