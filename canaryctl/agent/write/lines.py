"""Lines of JSON at the end of a file, each in one write: two writers' lines never mix."""

from __future__ import annotations

import json
import os
from typing import Any


def append_line(path: str, line: dict[str, Any]) -> None:
    """Append an object to a file of JSON lines, made with its directory where there is none. Raises OSError."""
    os.umask(0o022)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.write(handle, content) < len(content):
            raise OSError("no room for a line in " + path)
    finally:
        os.close(handle)
