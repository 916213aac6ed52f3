"""Files that a reader sees whole or not at all. The product's own files are written by this module too."""

from __future__ import annotations

import contextlib
import os
import tempfile


def write_atomic(path: str | os.PathLike[str], content: bytes, mode: int = 0o600, *, sync: bool = False) -> None:
    """Write a file with that mode, whatever the umask, in place of what is there; its directory must be there.

    With `sync` it is on the disk when this returns, and its place in the directory as well.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    folder, name = os.path.split(path)
    handle, partial = tempfile.mkstemp(dir=folder or ".", prefix="." + name + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
        if sync:
            sync_directory(folder or ".")
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Have what was made and renamed in a directory on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
