"""Files that a reader sees whole or not at all. The product's own files are written by this module too."""

from __future__ import annotations

import contextlib
import os
import tempfile


def write_atomic(path: str | os.PathLike[str], content: bytes, mode: int = 0o600) -> None:
    """Write a file with that mode, whatever the umask, in place of what is there; its directory must be there.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    folder, name = os.path.split(path)
    handle, partial = tempfile.mkstemp(dir=folder or ".", prefix="." + name + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise
