"""Lines of JSON at the end of a file, each in one write, and on the disk: two writers' lines never mix."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any


def append_line(path: str, line: dict[str, Any]) -> None:
    """Append an object to a file of JSON lines, made with its directory where there is none. Raises OSError.

    A line that was cut off by a full disk or a power loss before is left as it is: it must not take this one with it.
    """
    os.umask(0o022)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # a long line of another's grows page by page
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            content = b"\n" + content
        if os.write(handle, content) < len(content):
            raise OSError("no room for a line in " + path)
        os.fsync(handle)
    finally:
        os.close(handle)
