"""Evidence that is read back, and whatever is printed or written of it."""

from __future__ import annotations

import copy
import io
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from documents import deployed
from fuzzing import ODD, every_string, fuzzed, mutations, texts
from hypothesis import strategies as st

from canaryctl.audit.registry import all_rules
from canaryctl.audit.sarif import to_sarif
from canaryctl.cli.compare import print_comparison
from canaryctl.cli.history import history_lines
from canaryctl.cli.logs import LogPrinter
from canaryctl.cli.output import Printer, as_json, print_error
from canaryctl.cli.progress import describe
from canaryctl.cli.results import print_plan
from canaryctl.cli.runs import _show
from canaryctl.commands.history import History, merge
from canaryctl.commands.logs import LogLine
from canaryctl.config.scrub import Scrubber
from canaryctl.evidence.compare import compare
from canaryctl.evidence.document import new_document
from canaryctl.evidence.excerpts import excerpt
from canaryctl.evidence.page import render_comparison_html, render_html
from canaryctl.evidence.reading import damage_told
from canaryctl.evidence.report import (
    render_comparison_markdown,
    render_findings_markdown,
    render_junit,
    render_markdown,
)
from canaryctl.evidence.store import as_stored
from canaryctl.evidence.templating import cell, code

PLACE = Path("runs/canary/20261124T081530Z-deploy-5c1f")
FINDING = {
    "id": "docker-live-restore", "severity": "error", "what": "it is off", "where": "canary-1", "why": "x", "fix": "y",
    "host": "canary-1", "file": None, "line": None, "diff": "--- a\n+++ b\n", "ignored": None, "fingerprint": "0",
}  # fmt: skip
RUN: dict[str, Any] = new_document(**deployed("split")) | {
    "schema_version": 1,
    "directory": str(PLACE),
    "verdict": "failed",
    "error": {"what": "it broke", "where": "canary-1", "hint": "look"},
    "forced": {"reason": "hotfix", "overrides": ["gate"]},
    "gaps": [{"host": "canary-1", "service": "web", "from": 1.0, "until": 2.5, "seconds": 1.5}],
    "rollback": {"run": "r", "directory": "d", "to": "a" * 64, "verdict": "passed", "error": None, "gaps": []},
    "promotion": {
        "from": "canary", "release": "a" * 64, "variant": "split", "verdict": "passed", "when": "2026-11-24T08:15:30Z",
        "by": "ops", "run": "r", "simulated": False, "contracts": {"passed": 2},
        "images": {"web": {"id": "sha256:" + "a" * 64, "from": "here"}},
    },
    "findings": [FINDING],
    "notes": ["a note"], "left_alone": ["somebody's"],
    "warnings": [{"what": "old", "where": "canary-1", "hint": "update"}],
}  # fmt: skip
AUDIT = {
    "offline": False, "fail_on": "error", "counts": {"error": 1}, "ignored": 0,
    "compared": {"run": "r", "new": [FINDING], "gone": [FINDING], "same": []},
}  # fmt: skip
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def stored(value: Any) -> dict[str, Any]:
    """As it is when it comes from the disk."""
    try:
        written = json.loads(json.dumps(value))
    except (ValueError, RecursionError):
        written = {}
    return as_stored(PLACE, written if isinstance(written, dict) else {})


@fuzzed(mutations(RUN))
def test_a_stored_run_is_shown(value: Any) -> None:
    out = Terminal()
    with damage_told(PLACE):
        _show(stored(value), Printer(out))
    own = re.sub("\x1b\\[(?:[0-9]|3[0-9])m", "", out.getvalue())
    assert not FORBIDDEN.search(own)


@fuzzed(mutations(RUN | {"command": "audit", "audit": AUDIT}))
def test_a_stored_audit_is_shown(value: Any) -> None:
    document = stored(value)
    with damage_told(PLACE):
        _show(document, Printer(io.StringIO()))
        markdown = render_findings_markdown(document)
        sarif = to_sarif(document["findings"], all_rules().values(), "1")
    assert not FORBIDDEN.search(markdown + as_json(sarif, io.StringIO()))


def _markdown_form(text: str) -> tuple[int, int]:
    """How many headings and how many table rulers there are, outside of code blocks."""
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    return sum(line.startswith("#") for line in lines), sum(bool(re.fullmatch(r"\|[-|]+\|", line)) for line in lines)


@fuzzed(mutations(RUN))
def test_a_stored_run_is_exported(value: Any) -> None:
    document = stored(value)
    with damage_told(PLACE):
        written = [render(document) for render in (render_markdown, render_html, render_junit)]
    markdown, page, junit = written
    assert not FORBIDDEN.search(markdown)
    assert not FORBIDDEN.search(page + junit)
    ElementTree.fromstring(junit)  # noqa: S314  our own writing
    assert json.loads(as_json(document, io.StringIO())) == json.loads(json.dumps(document))


@fuzzed(st.tuples(mutations(RUN), mutations(RUN)))
def test_stored_runs_are_compared(value: tuple[Any, Any]) -> None:
    with damage_told(PLACE):
        comparison = compare(*map(stored, value))
        print_comparison(comparison, Printer(io.StringIO()))
        render_comparison_markdown(comparison)
        render_comparison_html(comparison)


ATTACKS = (
    "x\n# Forged\n\n| a | b |\n|---|---|\n| c | d |\n",
    "`x` [link](http://evil) <script>alert(1)</script>",
    "a|b|c", "```\n# x", "# x", "> x", "[x]: http://evil", "\u2028# x", "| |\r|--|\r", "</td></tr></table><h1>",
)  # fmt: skip


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found[tag] = self.found.get(tag, 0) + 1


def _elements(text: str) -> dict[str, int]:
    parser = _Elements()
    parser.feed(text)
    return parser.found


_PLACES = [path for path, _ in every_string(RUN, "") if "(key)" not in path]
_CLEAN = (_markdown_form(render_markdown(RUN)), _elements(render_html(RUN)))


def _put(path: tuple[Any, ...], text: str) -> dict[str, Any]:
    document = copy.deepcopy(RUN)
    holder: Any = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = text
    return document


@fuzzed(st.tuples(st.sampled_from(_PLACES), st.one_of(st.sampled_from(ATTACKS), texts(*ATTACKS))))
def test_no_text_forges_a_form(value: tuple[tuple[Any, ...], str]) -> None:
    document = stored(_put(*value))
    if document["error"] != RUN["error"] and value[0][0] != "error":
        return  # no word that may be there: the run is shown as damaged
    with damage_told(PLACE):
        markdown, page = render_markdown(document), render_html(document)
    headings, rulers = _markdown_form(markdown)
    assert headings <= _CLEAN[0][0] and rulers <= _CLEAN[0][1], value
    assert "](http" not in markdown.replace("\\", "") or "[link](http" not in markdown, value
    assert not re.search(r"^\[[^\]]*\]:", markdown, re.M), value
    assert set(_elements(page)) <= set(_CLEAN[1]) | {"pre", "code"} and page.count("<script") == 1, value


@fuzzed(st.one_of(texts(*ATTACKS), st.sampled_from(ODD)))
def test_cells_and_code_are_one_line(value: Any) -> None:
    for shown in (cell(value), code(value)):
        assert "\n" not in shown and not FORBIDDEN.search(shown)
        assert not re.search(r"(?<!\\)\|", shown.replace("\\\\", ""))


@fuzzed(st.one_of(st.text(), texts("a\x1b[2J\x9b1m\u202etxt", "\ue000", "\x1b]8;;http://x\x07")))
def test_nothing_printed_drives_a_terminal(value: str) -> None:
    for stream in (io.StringIO(), Terminal()):
        to = Printer(stream)
        to.line(value)
        to.line(to.paint(value, "good"))
        to.wrapped(value, 2)
        print_error({"what": value, "where": value, "hint": value}, stream)
        print_plan([{"host": value, "stage": value, "what": value, "reason": value}], stream)
        LogPrinter(to)(LogLine(value, value, "", value))
        own = re.sub("\x1b\\[(?:[0-9]|[39][0-9])m", "", stream.getvalue()) if to.colour else stream.getvalue()
        assert not FORBIDDEN.search(own)
    text = as_json({value: [value]}, io.StringIO())
    assert not FORBIDDEN.search(text) and json.loads(text) == {value: [value]}
    text.encode("utf-8")


EVENT = {
    "time": "2026-11-24T08:15:30Z", "type": "probe.changed", "name": "Front", "verdict": "failed", "before": "passed",
    "round": 3, "reason": "no", "flaky": False, "seconds": 1.5, "attempts": 2,
}  # fmt: skip


@fuzzed(mutations(EVENT), allowed=(KeyError, TypeError, ValueError))
def test_an_event_is_one_line(value: Any) -> None:
    if isinstance(value, dict):
        assert len(describe(value).splitlines()) <= 1


LINE = {
    "time": "2026-11-24T08:15:30Z", "who": "ops", "environment": "canary", "what": "deploy", "from": "a" * 64,
    "to": "b" * 64, "verdict": "passed", "run": "20261124T081530Z-deploy-5c1f", "reason": "hotfix",
}  # fmt: skip


@fuzzed(st.dictionaries(st.sampled_from(["h1", "h2"]), st.lists(mutations(LINE).filter(lambda v: isinstance(v, dict)))))
def test_history_is_shown(value: dict[str, list[dict[str, Any]]]) -> None:
    told = json.loads(json.dumps(value))  # as it comes from a host: keys are text
    history_lines(History("canary", "shop", merge(told)))


@fuzzed(texts("2026-11-24T08:15:30.694000000Z ERROR it\nTraceback (most recent call last)\n  File x\nValueError: y\n"))
def test_excerpts(value: str) -> None:
    found = excerpt(value)
    assert len(found["lines"]) <= 40 and len(found["patterns"]) <= 24


# Without what a mark is made of: where a secret is a part of a mark, it is in no place that tells anything.
_VALUES = st.text(
    st.characters(blacklist_characters="[] ", blacklist_categories=["Cs"]), min_size=4, max_size=30
).filter(lambda value: value not in "secret NAME0 NAME1 NAME2" and value.isprintable())


@fuzzed(st.tuples(st.lists(_VALUES, min_size=1, max_size=3, unique=True), texts("[secret NAME0=", "[secret ", "abc")))
def test_no_secret_survives_scrubbing(value: tuple[list[str], str]) -> None:
    secrets, text = value
    scrub = Scrubber({f"NAME{number}": secret for number, secret in enumerate(secrets)})
    forms = [form for form in scrub._names if len(form) >= 4]
    whole = text + text.join(forms) + text * 50
    began = time.process_time()
    scrubbed = scrub(whole)
    assert time.process_time() - began < 5
    assert len(scrubbed) <= len(whole) * 5
    left = re.sub(r"\[secret NAME\d\]", "\0", scrubbed)
    assert not [form for form in forms if form in left]
    assert scrub(scrubbed) == scrubbed
