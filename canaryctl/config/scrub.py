"""Known secret values out of everything that is written or shown, in their encoded forms too."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

T = TypeVar("T")

# Shorter values would blacken half of every log and protect nothing.
SHORTEST = 4
# Characters by which forms are grouped in a pattern: every form is longer.
_GROUPED = 3
_PATTERNS_KEPT = 32
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
        self.values = dict(values or {})
        values = self.values
        self.too_short = tuple(name for name, value in values.items() if len(value) < SHORTEST)
        found: dict[str, str] = {}
        for name, value in values.items():
            for form in _forms(value) if len(value) >= SHORTEST else ():
                found.setdefault(form, name)
        # Longest first: a form may hold another one.
        self._names = {form: found[form] for form in sorted(found, key=len, reverse=True)}
        # Only what a scrubber of these names writes is a mark: `[secret X=hunter2]` is an application's own text.
        self._marks = sorted({f"[secret {name}]" for name in found.values()}, key=len, reverse=True)
        self._patterns: dict[tuple[str, ...], re.Pattern[str]] = {}

    def __call__(self, value: T) -> T:
        """The same thing without secrets."""
        return self._scrub(value) if self._names else value

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
        # Most text holds no secret, and a plain search is far faster than a pattern of all forms.
        found = tuple(form for form in self._names if form in text)
        if not found:
            return text
        return self._pattern(found).sub(lambda match: match[1] or f"[secret {self._names[match[0]]}]", text)

    def _pattern(self, forms: tuple[str, ...]) -> re.Pattern[str]:
        """Matches a mark (as its first group), or one of the forms, which are longest first."""
        known = self._patterns.get(forms)
        if known is None:
            if len(self._patterns) >= _PATTERNS_KEPT:
                self._patterns.clear()
            marks = "|".join(map(re.escape, self._marks))
            known = self._patterns[forms] = re.compile(f"({marks})|{_alternation(forms)}")
        return known


_known: dict[str, str] = {}


def remember_secrets(values: Mapping[str, str]) -> None:
    """Have `without_secrets` hide these too: what a record scrubs, an error that ends the command must not print."""
    _known.update(values)


def without_secrets(value: T) -> T:
    """The text or data without any secret that a record of this process scrubs."""
    return Scrubber(_known)(value)


def _alternation(forms: Sequence[str], depth: int = 0) -> str:
    """A pattern of one of the forms, the first that fits.

    Grouped by their first characters: otherwise each form is tried at each character of a text, which takes long where
    an application has printed many.
    """
    if len(forms) == 1 or depth == _GROUPED:
        return "|".join(re.escape(form[depth:]) for form in forms)
    groups: dict[str, list[str]] = {}
    for form in forms:
        groups.setdefault(form[depth], []).append(form)
    return "|".join(f"{re.escape(first)}(?:{_alternation(rest, depth + 1)})" for first, rest in groups.items())


def _bytes(value: str) -> bytes:
    """The value as programs write it; a lone surrogate that stands for no byte is written as one."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def _forms(value: str) -> Iterator[str]:
    """The value and every encoding of it that programs are known to print."""
    raw = _bytes(value)
    yield value
    for escaped in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield escaped
        yield escaped.translate(_GO_ESCAPES)
        yield escaped.replace("/", "\\/")
        yield json.dumps(escaped)[1:-1]
    # What is left as it is: by Python, by JavaScript's encodeURIComponent and encodeURI, in a user's name by Go.
    safe = ("", "/", "!'()*", ";,/?:@&=+$!'()*#", "$&+,;=")
    for quoted in (*(quote(raw, safe=left) for left in safe), quote_plus(raw)):
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
