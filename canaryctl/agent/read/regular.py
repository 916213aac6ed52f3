"""Files that are read as root and whose place, or what lies there, somebody else may have chosen.

A container's label names a path, a service writes into a release: a link must not lead elsewhere, a pipe must not make
a program wait for ever, and a file without end must not fill the answer.
"""

from __future__ import annotations

import os
import stat
from typing import IO

LARGEST_COMPOSE = 1 << 18  # bytes of a rendered compose file


def open_regular(path: str, directory: int | None = None) -> IO[bytes]:
    """Open a regular file that is no link. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("not a regular file: " + path)
    return os.fdopen(handle, "rb")


def read_regular(path: str) -> bytes:
    """All of such a file. Raises OSError."""
    with open_regular(path) as file:
        return file.read()


def read_below(base: str, path: str, most: int) -> bytes:
    """At most so many bytes of a regular file below a directory, `path` being relative to it or absolute.

    Links are followed only where they lead to below `base`. Raises OSError.
    """
    base = os.path.realpath(base)
    real = os.path.realpath(os.path.join(base, path))
    if not real.startswith(base + os.sep):
        raise OSError("not below " + base + ": " + path)
    *folders, name = os.path.relpath(real, base).split(os.sep)
    # Component by component: what was no link a moment ago must not be one now.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    at = os.open(base, flags)
    try:
        for folder in folders:
            inner = os.open(folder, flags, dir_fd=at)
            os.close(at)
            at = inner
        with open_regular(name, at) as file:
            return file.read(most)
    finally:
        os.close(at)
