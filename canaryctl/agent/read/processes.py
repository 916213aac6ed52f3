"""Programs of the machine this runs on: found, run aside, ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any


def end_group(child: subprocess.Popen[Any], grace: float = 2.0, patience: float | None = None) -> None:
    """End a process that leads its group, with everything in it, and reap it; nothing where it has been reaped.

    Args:
        grace: seconds that it gets to end when asked, before it is killed; 0 where it is not asked.
        patience: seconds to wait for its end then; None for as long as it takes.
    """
    if child.returncode is not None:  # its number may be another's by now
        return
    for sign, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, patience)):
        if seconds != 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(seconds)


def find_program(name: str, places: str = "") -> str:
    """The path of a program, empty where there is none."""
    for place in (places or os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin").split(":"):
        path = os.path.join(place, name)
        if place and os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return ""


class Program:
    """A program left running while other questions are asked."""

    def __init__(self, *argv: str) -> None:
        self.name, self.late = argv[0], ""
        self.child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, LC_ALL="C"),
            start_new_session=True,
        )

    def finish(self, seconds: float) -> tuple[int | None, str]:
        """Its exit code and what it said; no code, and `late` says why, where it takes longer than `seconds`."""
        try:
            output = self.child.communicate(timeout=seconds)[0].decode("utf-8", "replace").strip()
        except subprocess.TimeoutExpired:
            self.late = f"{self.name} did not answer within {seconds:.0f} s"
            end_group(self.child, grace=0, patience=0.2)  # one that hangs in its driver does not even die
            return None, ""
        return self.child.returncode, output

    def answer(self, seconds: float) -> str:
        """What it said; it gets `seconds` to finish. Raises OSError when it fails or takes longer."""
        code, output = self.finish(seconds)
        if code is None:
            raise OSError(self.late)
        if code:
            raise OSError(f"{self.name}: {output[-300:]}")
        return output
