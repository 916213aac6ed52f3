"""Records whose process was killed, or whose machine stopped: completed by the next run, so that they verify too."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import time
from itertools import islice
from pathlib import Path

from canaryctl.config.durations import now
from canaryctl.evidence import files
from canaryctl.evidence.events import NAME as EVENTS
from canaryctl.evidence.private import close_to_others
from canaryctl.evidence.room import use_reserve
from canaryctl.evidence.store import died, run_directories

_LOOK_BACK = 100  # runs of an environment, newest first: who was killed has been so since the last command
_PARTIAL = re.compile(r"\..+\.[a-z0-9_]{8}")  # what a write that never ended leaves: see agent/write/atomic.py


def complete(runs_dir: Path, environment: str) -> None:
    """Complete the records of runs on an environment that ended without a word. What cannot be written stays as it is.

    A record that was finished is never touched: one that lacks its manifest then has lost it, and does not verify.
    """
    for path in islice(run_directories(runs_dir, environment), _LOOK_BACK):
        if not (path / files.MANIFEST).exists():
            with contextlib.suppress(OSError, ValueError, RecursionError):
                _complete(path)


def _complete(path: Path) -> None:
    with (path / EVENTS).open("rb") as log:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its process lives, or another one is at this
        document = json.loads((path / "run.json").read_bytes())
        if not isinstance(document, dict) or document.get("finished") is not None:
            return
        use_reserve(path)
        for left in [found for found in path.rglob(".*") if _PARTIAL.fullmatch(found.name) and found.is_file()]:
            left.unlink()
        document |= {"verdict": "interrupted", "finished": _last_time(path / EVENTS), "error": died(path)}
        files.write(path / "run.json", files.to_json(document), sync=True)
        close_to_others(path)
        files.write_manifest(path)


def _last_time(log: Path) -> str:
    """When the last event was written, in the form of run.json."""
    return now(ago=time.time() - log.stat().st_mtime)
