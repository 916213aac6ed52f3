"""A canaryctl that goes on while something happens to it: its events as they come, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from faults.lane import Done, Lane

Event = dict[str, Any]


_alive: set[int] = set()


def end_all() -> None:
    """End what was started and goes on, with all that it started."""
    for process in list(_alive):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)


class Command:
    """Started at once. `document` is the result it prints; `ended` when, by the monotonic clock."""

    def __init__(self, lane: Lane, argv: Sequence[str]) -> None:
        self.argv = list(argv)
        self.events: list[Event] = []
        self.ended = 0.0
        self.peak = 0.0  # MiB
        self.descriptors = 0  # the most that were open at a time
        self._err = ""
        self._process = lane.begin(*argv, "--output", "ndjson")
        _alive.add(self._process.pid)
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._events, self._errors, self._end, self._count)
        ]
        for thread in self._threads:
            thread.start()

    def _events(self) -> None:
        for line in self._process.stdout or ():
            with contextlib.suppress(ValueError):
                self.events.append(json.loads(line))

    def _errors(self) -> None:
        for line in self._process.stderr or ():
            self._err += line

    def _end(self) -> None:
        _, status, used = os.wait4(self._process.pid, 0)
        self.ended = time.monotonic()
        self.peak = used.ru_maxrss / 1024
        self._process.returncode = os.waitstatus_to_exitcode(status)

    def _count(self) -> None:
        while not self.ended:
            with contextlib.suppress(OSError):
                self.descriptors = max(self.descriptors, len(os.listdir(f"/proc/{self._process.pid}/fd")))  # noqa: PTH208
            time.sleep(0.5)

    def until(self, seen: Callable[[Event], bool], seconds: float) -> bool:
        """Whether an event comes within a time that satisfies `seen`; not if the command ends before."""
        end, looked = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            count = len(self.events)
            if any(seen(event) for event in self.events[looked:count]):
                return True
            looked = count
            if self.ended and count == len(self.events):
                return False
            time.sleep(0.01)
        return False

    def wait(self, seconds: float) -> Done | None:
        """How it ended; None where it does not in a time: then it is ended, and what its threads did is its error."""
        end = time.monotonic() + seconds
        while not self.ended and time.monotonic() < end:
            time.sleep(0.05)
        hung = not self.ended
        if hung:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGABRT)
            time.sleep(2)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its Ansible, too
        _alive.discard(self._process.pid)
        for thread in self._threads:
            thread.join(timeout=10)
        return None if hung else Done(self._process.returncode, json.dumps(self.document), self._err, self.peak)

    @property
    def said(self) -> str:
        """What it told people."""
        return self._err

    @property
    def document(self) -> dict[str, Any]:
        last = self.events[-1] if self.events else {}
        found = last.get("document")
        return found if isinstance(found, dict) else {}
