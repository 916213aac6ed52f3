"""The templates of the reports, and how text gets into them unharmed."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from canaryctl.config.caches import cache_home
from canaryctl.evidence.files import UNSEEN
from canaryctl.evidence.words import away_in_all, bound_words, figure, flaky_words, human_ms, human_seconds, human_size

if TYPE_CHECKING:
    import jinja2

# The hand-off note's own marks.
_MARKS = {"passed": "✅ PASS", "failed": "❌ FAIL", "inconclusive": "⚠️", "skipped": "⏭ skipped"}
_CELL_LIMIT = 500
_UNSEEN = re.compile(f"[\x00-\x08\x0b-\x1f{UNSEEN}]")


@functools.cache
def templates() -> jinja2.Environment:
    """Jinja over evidence/templates: HTML is escaped by itself, Markdown through the filter `cell`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("canaryctl.evidence", "templates"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.ChainableUndefined,
        bytecode_cache=_compiled(),
    )
    environment.filters.update(
        away=away_in_all,
        bound=bound_words,
        cell=cell,
        code=code,
        figure=figure,
        headline=headline,
        indented=indented,
        rest=rest,
        result=result,
        size=human_size,
        seconds=human_seconds,
        ms=human_ms,
        pretty=pretty,
    )
    return environment


def warm_up() -> None:
    """Compile the templates of a run's reports, in time that is spent waiting anyway."""
    for name in ("report.md.j2", "findings.md.j2", "report.html.j2", "page.html.j2", "parts.html.j2"):
        templates().get_template(name)


def _compiled() -> jinja2.BytecodeCache | None:
    """Where compiled templates are kept: compiling them takes longer than all else a short command does."""
    import jinja2

    home = cache_home("templates")
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    # Code is run from here: not where somebody else can write.
    private = home.stat().st_uid == os.getuid() and not home.stat().st_mode & 0o022
    return jinja2.FileSystemBytecodeCache(str(home)) if private and os.access(home, os.W_OK) else None


def source(name: str) -> str:
    """A template's own text, for what goes into a page as it is."""
    return (files("canaryctl.evidence") / "templates" / name).read_text(encoding="utf-8")


def cell(value: Any) -> str:
    """Text inside a Markdown table or line: one line, no markup of its own."""
    text = _line(value)
    if len(text) > _CELL_LIMIT:
        text = text[: _CELL_LIMIT - 1] + "…"
    text = re.sub(r"([\\`*|])", r"\\\1", text)
    # Neither links nor what they refer to, and nothing that begins a heading, list, quotation, rule or fence.
    text = re.sub(r"\](?=[(\[:])", r"]\\", text)
    text = re.sub(r"^([#>+=~_-]|\d+(?=[.)]))", lambda found: _begun(found[0]), text)
    return text.replace("<", "&lt;")


def _begun(text: str) -> str:
    return f"{text}\\" if text.isdigit() else f"\\{text}"


def code(value: Any) -> str:
    """Text as Markdown code inside a line or table; empty for none."""
    text = _line(value).replace("|", "\\|")
    if not text:
        return ""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}"


def headline(text: Any) -> str:
    """The first line of an error: what happened."""
    return str(text).split("\n", 1)[0]


def rest(text: Any) -> str:
    """What follows it, line by line: what a service said last, say."""
    return str(text).partition("\n")[2].rstrip()


def indented(text: Any) -> str:
    """Text as a Markdown code block: lines that are code whatever they hold."""
    kept = _UNSEEN.sub("\ufffd", str(text).replace("\r\n", "\n"))
    return "\n".join(f"    {line}" for line in kept.split("\n"))


def _line(value: Any) -> str:
    text = "" if value is None else str(value)
    return _UNSEEN.sub("\ufffd", " ".join(text.split()))


def result(row: Mapping[str, Any] | None) -> str:
    """A row's result as the hand-off note writes it; empty where there is no row."""
    if not row:
        return ""
    mark = _MARKS.get(row["verdict"], str(row["verdict"]))
    reason = row.get("reason") or ""
    if not row.get("gates", True) and row["verdict"] != "passed":
        mark = f"{mark} (does not gate)"
    if row.get("flaky"):
        return f"{mark} ({flaky_words(row)})"
    if row["verdict"] == "passed" or not reason:
        return mark if row["verdict"] != "inconclusive" else f"{mark} inconclusive"
    return f"{mark} {reason}" if row["verdict"] == "inconclusive" else f"{mark}: {reason}"


def pretty(text: Any) -> str:
    """JSON indented; anything else as it is."""
    if not isinstance(text, str):
        return json.dumps(text, indent=2, ensure_ascii=False)
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
