"""The kernel's lock on a directory: nobody else works on what lies in it meanwhile, whether it dies or not."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Iterator

TRIES = 5  # when the directory is removed under us


@contextlib.contextmanager
def turn(path: str) -> Iterator[None]:
    """Nobody else works on what lies beside `path` in here. Raises OSError."""
    handle = open_directory(os.path.dirname(path))
    try:
        yield
    finally:
        os.close(handle)


def open_directory(path: str) -> int:
    """The directory, made where it is missing, with the kernel's lock on it."""
    for _ in range(TRIES):
        os.makedirs(path, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(path) and os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
        os.close(handle)
    raise OSError("somebody removes " + path + " again and again")
