"""Known secret values out of everything that is written or shown, in their encoded forms too."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

T = TypeVar("T")

# Shorter values would blacken half of every log and protect nothing.
SHORTEST = 4
_MARK = re.compile(r"\[secret [^\]\n]*\]")
# Go's JSON encoder (Docker, compose) escapes these where Python's does not.
_GO_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class Scrubber:
    """Replaces each known secret value by `[secret NAME]`.

    Call it on text, bytes, or nested JSON-like data (keys included); anything else comes back as it is. Text that was
    scrubbed before stays as it is.

    Args:
        values: secret values by name. Values shorter than four characters are not replaced: see `too_short`.
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        values = values or {}
        self.too_short = tuple(name for name, value in values.items() if len(value) < SHORTEST)
        found: dict[str, str] = {}
        for name, value in values.items():
            for form in _forms(value) if len(value) >= SHORTEST else ():
                found.setdefault(form, name)
        # Longest first: a form may hold another one.
        self._names = {form: found[form] for form in sorted(found, key=len, reverse=True)}
        alternatives = "|".join(re.escape(form) for form in self._names)
        self._pattern = re.compile(f"{_MARK.pattern}|({alternatives})") if alternatives else None

    def __call__(self, value: T) -> T:
        """The same thing without secrets."""
        return self._scrub(value) if self._pattern else value

    def _scrub(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes):
            return self._text(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if isinstance(value, Mapping):
            return {self._scrub(key): self._scrub(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self._scrub(item) for item in value]
            return items if isinstance(value, list) else tuple(items)
        return value

    def _text(self, text: str) -> str:
        # Most text holds no secret, and a plain search is some ten times faster than the alternation.
        if self._pattern is None or not any(form in text for form in self._names):
            return text
        return self._pattern.sub(lambda match: self._mark(match), text)

    def _mark(self, match: re.Match[str]) -> str:
        return f"[secret {self._names[match[1]]}]" if match[1] is not None else match[0]


def _forms(value: str) -> Iterator[str]:
    """The value and every encoding of it that programs are known to print."""
    raw = value.encode("utf-8", "surrogateescape")
    yield value
    for escaped in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield escaped
        yield escaped.translate(_GO_ESCAPES)
        yield escaped.replace("/", "\\/")
        yield json.dumps(escaped)[1:-1]
    for quoted in (quote(raw, safe=""), quote(raw, safe="/"), quote_plus(raw)):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), quoted)
    yield from (raw.hex(), raw.hex().upper())
    yield shlex.quote(value)[1:-1] if shlex.quote(value) != value else value
    yield value.replace("'", "'\\''")
    yield value.replace("'", "''")
    yield value.replace("$", "$$")
    yield re.sub(r"([\"\\$`])", r"\\\1", value)
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", value)
    yield repr(value)[1:-1]
    yield html.escape(value)
    yield html.escape(value, quote=False)
    yield from _base64(raw)
    if "\n" in value.strip():
        yield value.replace("\n", "\r\n")
        # A key file comes home line by line, each with a prefix; its armour lines are no secret.
        yield from (line for line in value.splitlines() if len(line) >= 16 and not line.startswith("-----"))


def _base64(raw: bytes) -> Iterator[str]:
    """What `raw` looks like inside base64 text, wherever it begins and whatever surrounds it."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        # Only the characters that no neighbouring byte has a part in.
        inner = encoded[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6].decode("ascii")
        yield inner
        yield inner.replace("+", "-").replace("/", "_")
