"""What a service's log says, small enough for run.json: its last lines, and how often each kind of line came. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

LINES = 40  # last lines kept
LINE = 400  # characters of a line kept
PATTERNS = 24
_EXAMPLE = 1200  # characters; a traceback is worth more than a line
_READ = 2000  # characters of a line that are looked at
_DOCKERS_TIME = re.compile(r"(\d{4}-\d\d-\d\dT)?(\d\d:\d\d:\d\d(?:\.\d{1,3})?)\d*(Z|[+-]\d\d:\d\d) ")
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_ERROR = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|PANIC)\b|^panic:|^[\w.]*(?:Error|Exception)(?::|$)"
    r"|\b(?:level|severity)\"?[=:]\s*\"?(?:error|fatal|critical|panic)\b"
)
_WARNING = re.compile(r"\bWARN(?:ING)?\b|\b(?:level|severity)\"?[=:]\s*\"?warn(?:ing)?\b")
_LEVELS = ("traceback", "error", "warning", "info")
# In this order: a time holds numbers, and a quoted text may hold any of them. Requests keep what they ask for.
_VARIABLE = (
    (re.compile(r'"(?!(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) )[^"]*"'), '"…"'),
    (re.compile(r"(?<!\w)'[^']*'(?!\w)"), "'…'"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"), "#"),
    (re.compile(r"(?<![A-Za-z])(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*(?![A-Za-z])", re.IGNORECASE), "#"),
    (re.compile(r"\d+(?:[.:,]\d+)*"), "#"),
)


def excerpt(text: str) -> dict[str, Any]:
    """`lines` and `patterns` of a log as `docker logs --timestamps` prints it.

    Secrets must be out of the text by now: what is normalised can no longer be recognised as one.
    A pattern is a line with its numbers, hex, times and quoted strings replaced; a traceback is one pattern, known by
    its last line. Errors come first, then what is most frequent.
    """
    lines = [_printable(line) for line in text.splitlines()]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for level, pattern, example in _messages(lines):
        row = found.setdefault((level, pattern), {"pattern": pattern, "level": level, "count": 0, "example": example})
        row["count"] += 1
    rows = sorted(found.values(), key=lambda row: (_LEVELS.index(row["level"]), -row["count"]))
    return {"lines": [_cut(_short_time(line), LINE) for line in lines[-LINES:]], "patterns": rows[:PATTERNS]}


def _messages(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """Level, pattern and example of each line; the lines of a traceback are one message."""
    traceback: list[str] = []
    for line in lines:
        text = _DOCKERS_TIME.sub("", line, count=1)
        if text.startswith("Traceback (most recent call last)"):
            traceback = [text]
        elif traceback and (not text.strip() or text[0] in " \t"):
            traceback.append(text)
        elif traceback:
            example = "\n".join([*traceback, text])
            yield "traceback", _normalised(text), example if len(example) <= _EXAMPLE else "…" + example[-_EXAMPLE:]
            traceback = []
        elif text.strip():
            yield _level(text), _normalised(text), _cut(text, LINE)


def _level(line: str) -> str:
    if _ERROR.search(line):
        return "error"
    return "warning" if _WARNING.search(line) else "info"


def _normalised(line: str) -> str:
    for variable, instead in _VARIABLE:
        line = variable.sub(instead, line)
    # A line's own time at its beginning tells nothing once it is replaced.
    return _cut(" ".join(line.split()).lstrip("# "), LINE)


def _printable(line: str) -> str:
    return _UNPRINTABLE.sub("", line[:_READ])


def _short_time(line: str) -> str:
    """Docker's time without date and nanoseconds: the run says which day it was."""
    return _DOCKERS_TIME.sub(r"\2 ", line, count=1)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
