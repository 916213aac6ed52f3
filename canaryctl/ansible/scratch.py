"""Private directories in memory for what a process must not leave behind: secrets, passwords, control sockets.

A killed process cannot clean up after itself; the next one does. Each directory holds a locked file, so that one whose
owner lives is told from one whose owner is gone, whatever process numbers say.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "canaryctl-"
_LOCK = ".owner"
_held: dict[Path, int] = {}


def make_scratch(folder: str | None) -> Path:
    """A new directory (0700) in `folder`, or in the system's own for temporary files where it is None.

    Those of processes that are gone are removed from there first.
    """
    with contextlib.suppress(OSError):
        _sweep(Path(folder or tempfile.gettempdir()))
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    lock = os.open(made / f"{_LOCK}.new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (made / f"{_LOCK}.new").rename(made / _LOCK)  # seen by others only once it is locked
    _held[made] = lock
    return made


def remove_scratch(path: Path) -> None:
    """Remove a directory that `make_scratch` made; nothing where it is gone already."""
    shutil.rmtree(path, ignore_errors=True)
    if (lock := _held.pop(path, None)) is not None:
        os.close(lock)


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)  # without one it is no scratch of ours
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
