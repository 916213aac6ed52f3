"""Reports of a run, each made from run.json alone: the hand-off note, JUnit for CI, and one self-contained page."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    import jinja2

Document = Mapping[str, Any]

# The hand-off note's own marks.
_MARKS = {"passed": "✅ PASS", "failed": "❌ FAIL", "inconclusive": "⚠️", "skipped": "⏭ skipped"}
_XML_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CELL_LIMIT = 500


def render_markdown(document: Document) -> str:
    """report.md, ready to paste into a hand-off."""
    text = _templates().get_template("report.md.j2").render(_view(document))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def render_html(document: Document) -> str:
    """report.html: one file without any outside reference."""
    return _templates().get_template("report.html.j2").render(_view(document))


def render_junit(document: Document) -> str:
    """junit.xml: a test case for each probe and each contract; inconclusive is an error, skipped is skipped."""
    suites = ElementTree.Element("testsuites", name=_xml(f"canaryctl {document['command']} {document['environment']}"))
    cases = {
        "probes": [(p["name"], p.get("kind") or "probe", p) for p in document["probes"]],
        "contracts": [(f"{c['image']}: {c['check']}", "contract", c) for c in document["contracts"]],
    }
    for suite_name, rows in cases.items():
        if rows:
            suites.append(_suite(f"{document['environment']}.{suite_name}", rows, document))
    if document.get("error"):
        # A run that stopped early has no row for what stopped it, and CI would call an empty file green.
        stopped = {"verdict": "inconclusive", "reason": _sentence(document["error"])}
        suites.append(_suite(f"{document['environment']}.run", [(document["command"], "run", stopped)], document))
    for count in ("tests", "failures", "errors", "skipped"):
        suites.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _suite(name: str, rows: list[tuple[str, str, Any]], document: Document) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=_xml(name), timestamp=str(document["started"] or ""))
    element_of = {"failed": "failure", "inconclusive": "error", "skipped": "skipped"}
    counts = dict.fromkeys(("failure", "error", "skipped"), 0)
    for title, kind, row in rows:
        case = ElementTree.SubElement(
            suite, "testcase", name=_xml(title), classname=_xml(f"{name}.{kind}"), time=f"{row.get('seconds') or 0:.3f}"
        )
        element = element_of.get(row["verdict"])
        if element:
            reason = _xml(row.get("reason") or row.get("found") or row["verdict"])
            ElementTree.SubElement(case, element, message=reason, type=row["verdict"]).text = reason
            counts[element] += 1
    suite.attrib.update(
        tests=str(len(rows)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{sum(row.get('seconds') or 0 for _, _, row in rows):.3f}",
    )
    return suite


def verdict_sentence(document: Document) -> str:
    """What happened, in a sentence."""
    what = {
        "passed": "passed",
        "failed": "failed",
        "inconclusive": "is inconclusive: the probes' own data is wrong, the hosts are not to blame",
        "interrupted": "was interrupted before it ended",
        "running": "is still running",
        "error": "stopped with an error before a verdict",
    }.get(document["verdict"], document["verdict"])
    if document["verdict"] == "inconclusive" and document.get("error"):
        what = "was stopped: whether its images keep their contracts could not be told"
    variant = f" (variant {document['variant']})" if document.get("variant") else ""
    stack = f" of {document['stack']}{variant}" if document.get("stack") else ""
    return f"The {document['command']}{stack} on {document['environment']} {what}."


def gates(document: Document) -> list[str]:
    """What holds the release back: every probe and contract that did not pass, and the error if any."""
    held = [
        f"contract {row['image']}: {row['check']}"
        for row in document["contracts"]
        if row["verdict"] not in ("passed", "skipped")
    ] + [f"{row['name']} ({row['verdict']})" for row in document["probes"] if row["verdict"] != "passed"]
    return held + ([document["error"]["what"]] if document.get("error") else [])


def applied(document: Document) -> list[dict[str, Any]]:
    """The plan's changes, each with `outcome`: done, failed or not reached."""
    status = {(stage["name"], stage["host"]): stage["status"] for stage in document["stages"]}
    words = {"ok": "done", "changed": "done", "failed": "failed"}
    return [
        {**change, "outcome": words.get(status.get((change["stage"], change["host"]), ""), "not reached")}
        for change in document["plan"].get("changes", [])
    ]


def human_size(size: float | None) -> str:
    """Bytes as people write them: 1.4 GB."""
    if size is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def human_seconds(seconds: float | None) -> str:
    """A duration as people read it: 0.12 s, 4.2 s, 3 min 05 s."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


def _view(document: Document) -> dict[str, Any]:
    return {
        "run": document,
        "sentence": verdict_sentence(document),
        "gates": gates(document),
        "changes": applied(document),
        "timeline": _timeline(document),
    }


def _timeline(document: Document) -> dict[str, dict[str, dict[str, Any]]]:
    """Stages of each host: {host: {stage: entry}}, in the order they ended."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for stage in document["stages"]:
        rows.setdefault(stage["host"], {})[stage["name"]] = stage
    return rows


def _result(row: Mapping[str, Any]) -> str:
    """A row's result as the hand-off note writes it."""
    mark = _MARKS.get(row["verdict"], str(row["verdict"]))
    reason = row.get("reason") or ""
    if row["verdict"] == "passed" or not reason:
        return mark if row["verdict"] != "inconclusive" else f"{mark} inconclusive"
    return f"{mark} {reason}" if row["verdict"] == "inconclusive" else f"{mark}: {reason}"


def _cell(value: Any) -> str:
    """Text inside a Markdown table or line: one line, no markup of its own."""
    text = " ".join(str("" if value is None else value).split())
    if len(text) > _CELL_LIMIT:
        text = text[: _CELL_LIMIT - 1] + "…"
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", "\ufffd", text)
    text = re.sub(r"([\\`*|])", r"\\\1", text)
    return text.replace("<", "&lt;").replace("](", "]\\(")


def _sentence(error: Mapping[str, str]) -> str:
    where = f"{error['where']}: " if error.get("where") else ""
    return f"{where}{error['what']}" + (f" ({error['hint']})" if error.get("hint") else "")


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _xml(text: Any) -> str:
    return _XML_FORBIDDEN.sub("\ufffd", str(text))


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("canaryctl.record", "templates"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(cell=_cell, result=_result, size=human_size, seconds=human_seconds, json=_json)
    return environment
