"""Tell who waits for this program that it lives, and end it where it gets no further, or where nobody waits any more.

What tells it is a line without a word, every few seconds.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from canaryctl.agent.read.docker import DockerError

PULSE_EVERY = 5.0  # seconds
DOCKER_SILENT = 45.0  # seconds in which Docker must answer a ping, whatever else it does
_saying = threading.Lock()


def say_line(text: str) -> None:
    """One line to the other end, whole, whoever else says something. Raises OSError where nobody reads it any more."""
    with _saying:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


class Pulse:
    """A thread that watches the program. What that is `doing` gets further with every `step`."""

    def __init__(self, ping: Callable[[], object]) -> None:
        """ping: asks Docker for a sign of life. Raises OSError or DockerError where it gives none."""
        self.ping = ping
        self.work: tuple[str, float, bool] | None = None
        self.stepped = self.answered = time.monotonic()

    def begin(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def doing(self, what: str, seconds: float, *, docker: bool = False) -> None:
        """From now on this must get further within so many seconds each time; `docker`: which must answer, too."""
        self.stepped = self.answered = time.monotonic()
        self.work = what, seconds, docker

    def rest(self) -> None:
        """It is the other end's turn."""
        self.work = None

    def step(self) -> None:
        """A bit of the work is done."""
        self.stepped = time.monotonic()

    def fault(self) -> str:
        """Why it is not worth waiting any longer, or ''."""
        if self.work is None:
            return ""
        what, seconds, docker = self.work
        if time.monotonic() - self.stepped > seconds:
            return f"{what} got no further for {seconds:.0f} s"
        if docker:
            try:
                self.ping()
                self.answered = time.monotonic()
            except (OSError, DockerError):
                if time.monotonic() - self.answered > DOCKER_SILENT:
                    return f"Docker has not answered for {DOCKER_SILENT:.0f} s ({what})"
        return ""

    def _watch(self) -> None:
        while True:
            time.sleep(PULSE_EVERY)
            fault = self.fault()
            try:
                say_line(json.dumps({"error": fault}) if fault else "")
            except OSError:
                os._exit(1)
            if fault:
                os._exit(1)  # the other threads may wait for what never comes


class Turns:
    """Standard input: while it is read, it is the other end's turn; what came has to be taken within some seconds."""

    def __init__(self, source: Any, pulse: Pulse, what: str, seconds: float) -> None:
        self.source, self.pulse, self.work = source, pulse, (what, seconds)

    def readline(self) -> bytes:
        return self._read(self.source.readline)

    def read1(self, size: int) -> bytes:
        return self._read(lambda: self.source.read1(size))

    def _read(self, read: Callable[[], bytes]) -> bytes:
        self.pulse.rest()
        data = read()
        self.pulse.doing(*self.work)
        return data
