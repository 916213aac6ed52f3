"""Read a container's log line by line and report what matches. Runs on hosts: standard library only, Python 3.7.

Memory stays bounded however long the log is: a line is read in pieces of at most LONGEST bytes, and what is kept is
counted.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

LONGEST = 16384  # bytes of a line that are looked at; the rest of it counts as lines of its own
KEPT = 3  # excerpts of each pattern
FOLLOWING = 20  # lines of an excerpt before its last
WIDTH = 300  # characters of a line in an excerpt


def scan(stream: Any, patterns: list[str]) -> dict[str, Any]:
    """Look at every line of a binary stream of `docker logs --timestamps`.

    Returns `lines`, `bytes`, the `last` line, and in `found` for each pattern its `count` and first `excerpts`: time,
    line, and the lines that belong to it: the indented ones that follow and the one after them, which is where a
    traceback says what happened.
    """
    compiled = [re.compile(pattern) for pattern in patterns]
    found: list[dict[str, Any]] = [{"count": 0, "excerpts": []} for _ in patterns]
    open_: list[list[str]] = []
    lines = size = 0
    raw = last = b""
    while True:
        last, raw = raw, stream.readline(LONGEST)
        if not raw:
            line = last[:WIDTH].decode("utf-8", "replace").strip()
            return {"lines": lines, "bytes": size, "last": line, "found": found}
        lines, size = lines + 1, size + len(raw)
        stamp, _, text = raw.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
        open_ = [excerpt for excerpt in open_ if _follows(excerpt, text)]
        for index, pattern in enumerate(compiled):
            if pattern.search(text):
                entry = found[index]
                entry["count"] += 1
                if len(entry["excerpts"]) < KEPT:
                    entry["excerpts"].append([stamp, text[:WIDTH]])
                    open_.append(entry["excerpts"][-1])


def _follows(excerpt: list[str], text: str) -> bool:
    """Add a line that belongs to an excerpt; whether more may follow. Of a long one the last line is kept as well."""
    indented = text[:1] in (" ", "\t")
    if indented or excerpt[-1][:1] in (" ", "\t"):
        excerpt[FOLLOWING:] = [text[:WIDTH]]
    return indented


def main(docker: list[str], patterns: list[str]) -> None:
    """Print what is found in a container's log as one line of JSON; arguments are `docker logs`'s own."""
    argv = [*docker, "logs", "--timestamps", *sys.argv[1:]]
    # Both streams on one pipe: two would have to be read at once, and their order would be lost.
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    answer = scan(child.stdout, patterns)
    answer["code"] = child.wait()
    sys.stdout.write(json.dumps(answer) + "\n")
