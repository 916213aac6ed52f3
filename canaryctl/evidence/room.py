"""Room for a run's record: looked for before it begins, and some of it kept for its end."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from canaryctl.errors import ConfigError
from canaryctl.evidence.private import file_mode

NAME = ".reserve"
NEEDED = 4 << 20  # bytes: several times what a usual run writes
_INODES = 200
_RESERVED = 1 << 20  # bytes: run.json, the reports and the manifest of a usual run


def require_room(directory: Path) -> None:
    """Stop before anything is changed where the disk has no room for a run's record, and reserve some for its end.

    Raises:
        ConfigError: says where, and how many bytes are free. The new directory is gone again.
    """
    fault = lacking(directory)
    if not fault:
        try:  # a quota does not show in what is free
            _reserve(directory)
        except OSError as error:
            fault = error.strerror or str(error)
    if fault:
        shutil.rmtree(directory, ignore_errors=True)
        hint = "make room there, or give another directory with --runs"
        raise ConfigError(f"there is no space for the evidence: {fault}", str(directory.parent), hint)


def lacking(directory: Path) -> str:
    """What a disk has too little of for a run, in words; '' where there is enough."""
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if free < NEEDED:
        return f"{free:,} bytes are free, and a run needs {NEEDED:,}"
    if found.f_files and found.f_favail < _INODES:
        return f"{found.f_favail} inodes are free, and a run needs {_INODES}"
    return ""


def _reserve(directory: Path) -> None:
    handle = os.open(directory / NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, file_mode(directory))
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, _RESERVED)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # a file system that reserves nothing
            raise
    finally:
        os.close(handle)


def use_reserve(directory: Path) -> None:
    """Give the room back that was kept for the end."""
    with contextlib.suppress(OSError):
        (directory / NAME).unlink()
