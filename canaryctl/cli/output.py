"""What people and scripts read: text that survives any terminal, columns, JSON, errors and exit codes."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import IO, Any, NoReturn

import typer

from canaryctl.commands.words import UNSEEN, json_text
from canaryctl.errors import CanaryError, worst_exit

_MARK = re.compile("\ue000[0-9a-f]{16}:[0-9]+;")  # what `paint` makes, of any printer
_CONTROL = re.compile(f"[\x00-\x09\x0b-\x1f{UNSEEN}]")
_SYMBOLS = {"good": ("✓", "+"), "bad": ("✗", "x"), "warn": ("!", "!"), "off": ("-", "-"), "arrow": ("→", "->")}
_COLOURS = {"good": "32", "bad": "31", "warn": "33", "off": "2", "bold": "1", "soft": "2"}
_MOODS = {
    **dict.fromkeys(("passed", "ok", "changed", "done"), "good"),
    **dict.fromkeys(("failed", "error", "unreachable"), "bad"),
    **dict.fromkeys(("inconclusive", "interrupted", "running"), "warn"),
}


class Output(StrEnum):
    """Values of `--output`."""

    TEXT = "text"
    JSON = "json"
    NDJSON = "ndjson"


class Printer:
    """Writes lines to a stream: colour where wanted, ASCII where needed, control characters never."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.unicode = can_encode(stream, "✓✗→…")
        self.terminal = _is_terminal(stream)
        self.colour = self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.width = min(shutil.get_terminal_size((80, 24)).columns, 120) if self.terminal else 80
        # Our own colours until a line is printed: nobody else can write one, so all else may be cleaned.
        self._mark = f"\ue000{secrets.token_hex(8)}:"
        self._marks = re.compile(re.escape(self._mark) + "([0-9]+);")

    def line(self, text: str = "") -> None:
        """Print one line (or several): any text, in which only what `paint` made has a colour."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(self.shown(text).encode(encoding, "replace").decode(encoding) + "\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Print lines of foreign text, and have them seen at once."""
        for text in texts:
            self.line(field(text))
        self.stream.flush()

    def shown(self, text: str) -> str:
        """The text as a terminal may get it: cleaned, with the colours of `paint`."""
        return self._marks.sub(lambda found: f"\x1b[{found[1]}m", clean(text))

    def paint(self, text: str, style: str) -> str:
        """The text in the colour of good, bad, warn, off, bold or soft, or an SGR number, where colours are wanted.

        Only for `line` and `shown`: a mark stands for the colour until then.
        """
        code = style if style.isdigit() else _COLOURS.get(style, "")
        return f"{self._mark}{code};{text}{self._mark}0;" if self.colour and code and text else text

    def symbol(self, word: str) -> str:
        """The mark of a verdict or status, painted."""
        mood = _MOODS.get(word, "off")
        return self.paint(_SYMBOLS[mood][not self.unicode], mood)

    def arrow(self) -> str:
        """An arrow from before to after."""
        return _SYMBOLS["arrow"][not self.unicode]

    def verdict(self, word: str, width: int = 0) -> str:
        """A verdict or status, painted and padded."""
        return self.paint(field(word).ljust(width), _MOODS.get(word, "off"))

    def wrapped(self, text: Any, indent: int) -> None:
        """Print foreign text, indented and wrapped; lines after its first go further in: none may pass for ours."""
        space = " " * indent
        for paragraph in clean(text).splitlines() or [""]:
            self.line(
                textwrap.fill(paragraph, max(self.width, indent + 20), initial_indent=space, subsequent_indent=space)
            )
            space = " " * (indent + 2)


def clean(text: Any) -> str:
    """Foreign text without control characters: a service's answer must not drive the operator's terminal."""
    return _CONTROL.sub(lambda found: " " if found[0] == "\t" else "\ufffd", str(text).replace("\r\n", "\n"))


def field(text: Any) -> str:
    """Foreign text as a part of one line: a name with a line break must not add a row of its own."""
    return clean(text).replace("\n", "\ufffd")


def aligned(
    rows: Iterable[Sequence[str]], *, least: Mapping[int, int] | None = None, most: int | None = None
) -> list[str]:
    """Rows as lines: each column as wide as its widest cell, two spaces between. Painted cells keep their colour.

    Nothing is wrapped or cut: a last cell, and what is wider than `most`, takes the room that it needs.

    Args:
        least: columns that have a width of their own at least.
    """
    from rich.cells import cell_len

    widths = dict(least or {})
    table = [[(cell, cell_len(_MARK.sub("", cell))) for cell in row] for row in rows]
    for row in table:
        for column, (_, width) in enumerate(row[:-1]):
            widths[column] = max(widths.get(column, 0), min(width, most or width))
    return [
        "  ".join(
            [*(cell + " " * (widths[column] - width) for column, (cell, width) in enumerate(row[:-1])), row[-1][0]]
        ).rstrip()
        for row in table
    ]


def shown_time(time: Any) -> str:
    """RFC 3339 to the second, in UTC, as people read it."""
    return str(time or "unknown time")[:19].replace("T", " ")


def print_json(document: Any, out: IO[str] | None = None) -> None:
    """A JSON document on standard output, indented."""
    out = out or sys.stdout
    out.write(as_json(document, out, indent=2) + "\n")
    out.flush()


def as_json(document: Any, out: IO[str], indent: int | None = None) -> str:
    """JSON in the characters that the stream has."""
    return json_text(document, indent=indent, ascii_only=not can_encode(out, "✓é"))


def print_event(event: Mapping[str, Any], out: IO[str]) -> None:
    """One event as one line of JSON."""
    out.write(as_json(event, out) + "\n")
    out.flush()


def print_error(error: CanaryError | Mapping[str, str], err: IO[str] | None = None) -> None:
    """What happened, where, and what to do next."""
    to = Printer(err or sys.stderr)
    fields = error.as_dict() if isinstance(error, CanaryError) else error
    first, *more = clean(fields.get("what") or "unknown error").splitlines()
    to.line(f"{to.paint('error:', 'bad')} {first}")
    for line in more:  # further in than `where` and `help`, which are ours alone
        to.line(f"    {line}")
    for label, key in (("where", "where"), ("help", "hint")):
        if fields.get(key):
            first, *more = clean(fields[key]).splitlines()
            to.line(f"  {to.paint(label + ':', 'bold')} {first}")
            for line in more:
                to.line(f"    {line}")
    to.stream.flush()


def as_data(value: Any) -> Any:
    """What a command found as JSON has it: dataclasses by their fields, or as their `as_dict` says."""
    if hasattr(value, "as_dict"):
        return as_data(value.as_dict())
    if is_dataclass(value):
        return {one.name: as_data(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: as_data(one) for key, one in value.items()}
    return [as_data(one) for one in value] if isinstance(value, list | tuple) else value


def print_answer(found: Any, lines: Iterable[str], mode: Output) -> None:
    """What a command found: as lines of foreign text for people, or as JSON."""
    if mode is not Output.TEXT:
        print_json(as_data(found))
        return
    Printer(sys.stdout).lines(lines)


def leave(failures: Iterable[CanaryError], *codes: int) -> NoReturn:
    """Print what failed, and exit with the code that counts most of theirs and `codes`."""
    found = list(failures)
    for failure in found:
        print_error(failure)
    raise typer.Exit(worst_exit([*codes, *(failure.exit_code for failure in found)]))


def can_encode(stream: IO[str], text: str) -> bool:
    """Whether a stream's encoding has these characters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False
