"""Append a line to a stack's history, in one write: two operators' lines never mix."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from canaryctl.agent.read.held import LockLost, require_locks


def answer_append(config: dict[str, Any]) -> None:
    """Write `line`, an object, while the run holds its `locks`; `lost` has who holds them now where it does not."""
    answer: dict[str, Any] = {"agent": 1, "error": ""}
    try:
        require_locks(config["locks"])
        append_line(os.path.join(config["root"], config["stack"], "history.jsonl"), config["line"])
    except LockLost as lost:
        answer["lost"] = [lost.holder]
    except OSError as error:
        answer["error"] = str(error)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


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
