"""Reports of a run, made from run.json alone: the hand-off note, JUnit for CI, and what they and the page say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from canaryctl.evidence.files import UNSEEN, safe_name
from canaryctl.evidence.sidebyside import tables
from canaryctl.evidence.templating import templates

Document = Mapping[str, Any]

_LINKED = ("rollback", "follows")  # keys of run.json that name another run

_XML_FORBIDDEN = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f{UNSEEN}\ufffe\uffff]")


def render_markdown(document: Document, *, in_place: bool = False) -> str:
    """report.md, ready to paste into a hand-off. One that lies `in_place` links to the reports of other runs."""
    comparison = document.get("comparison")
    text = (
        templates()
        .get_template("report.md.j2")
        .render(
            run=document,
            sentence=verdict_sentence(document),
            gates=gates(document),
            changes=applied(document),
            beside=beside(document, "report.md") if in_place else {},
            comparison=comparison,
            tables=tables(comparison) if comparison else [],
        )
    )
    return _tidy(text)


def render_findings_markdown(document: Document) -> str:
    """An audit's findings, ready to paste into an issue."""
    title = f"# Audit of {document['environment']}: {document['verdict']}\n\n"
    return _tidy(title + templates().get_template("findings.md.j2").render(run=document))


def render_comparison_markdown(comparison: Mapping[str, Any]) -> str:
    """Two runs side by side (`compare`), ready to paste into a hand-off."""
    text = templates().get_template("compare.md.j2").render(comparison=comparison, tables=tables(comparison))
    return _tidy(text)


def render_junit(document: Document) -> str:
    """junit.xml: a test case for each probe, contract, metric and finding; inconclusive is an error."""
    suites = ElementTree.Element("testsuites", name=_xml(f"canaryctl {document['command']} {document['environment']}"))
    cases = {
        "probes": [(p["name"], p.get("kind") or "probe", p) for p in document["probes"]],
        "contracts": [(f"{c['image']}: {c['check']}", "contract", c) for c in document["contracts"]],
        "metrics": [(f"{m['name']} {m.get('statistic') or ''}".strip(), "metric", m) for m in _metrics(document)],
    }
    cases["findings"] = [
        (
            f"{f['id']} {f['where']}",
            "finding",
            {"verdict": "failed" if holds(f, document) else "skipped", "reason": f["what"]},
        )
        for f in document.get("findings") or []
    ]
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
    suite = ElementTree.Element("testsuite", name=_xml(name), timestamp=_xml(document["started"] or ""))
    element_of = {"failed": "failure", "inconclusive": "error", "skipped": "skipped"}
    counts = dict.fromkeys(("failure", "error", "skipped"), 0)
    for title, kind, row in rows:
        case = ElementTree.SubElement(
            suite, "testcase", name=_xml(title), classname=_xml(f"{name}.{kind}"), time=f"{row.get('seconds') or 0:.3f}"
        )
        element = element_of.get(row["verdict"])
        if element and not _holds_back(row, document):  # CI must not be red over what does not gate
            element = "skipped"
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
    if any(wave["verdict"] == "inconclusive" for wave in document.get("waves") or ()):
        what = "was stopped: the probes could not judge the first hosts"
    elif document["verdict"] == "inconclusive" and document.get("error"):
        what = "was stopped: whether its images keep their contracts could not be told"
    variant = f" (variant {document['variant']})" if document.get("variant") else ""
    stack = f" of {document['stack']}{variant}" if document.get("stack") else ""
    return f"The {document['command']}{stack} on {document['environment']} {what}."


def gates(document: Document) -> list[str]:
    """What holds the release back: each contract, probe and metric that gates and did not pass; the error if any."""
    partly = ["only a part of the probes ran"] if document.get("partial") else []
    if document["verdict"] == "passed":
        return partly
    held = [
        f"contract {row['image']}: {row['check']}"
        for row in document["contracts"]
        if row["verdict"] not in ("passed", "skipped")
    ]
    held += [
        f"{row['name']} ({row['verdict']})"
        for row in (*document["probes"], *document["metrics"])
        if _holds_back(row, document)
    ]
    held += [f"{row['id']} ({row['where']})" for row in document.get("findings") or [] if holds(row, document)]
    held += partly
    return held + ([document["error"]["what"]] if document.get("error") else [])


def holds(row: Mapping[str, Any], document: Document) -> bool:
    """Whether a finding fails the audit it is of."""
    order = ("info", "warning", "error", "critical")
    threshold = (document.get("audit") or {}).get("fail_on", "error")
    return row["ignored"] is None and order.index(row["severity"]) >= order.index(threshold)


def _holds_back(row: Mapping[str, Any], document: Document) -> bool:
    """Whether a row's verdict stands in the way under the rules the run was judged by."""
    let_through = ("passed", "inconclusive") if document["rules"].get("inconclusive") == "pass" else ("passed",)
    return row.get("gates", True) and row["verdict"] not in let_through


def beside(document: Document, report: str) -> dict[str, str]:
    """The ways from this run's report to those of runs that lie beside it and that it names, by the key that does.

    A rollback whose evidence had no room may lie elsewhere, and is gone.
    """
    here = PurePosixPath(document["directory"])
    found = {}
    for key in _LINKED:
        other = document.get(key) or {"run": "", "directory": ""}
        there = PurePosixPath(other["directory"])
        if there.parent == here.parent and there.name == other["run"] == safe_name(other["run"]):
            found[key] = f"../{there.name}/{report}"
    return found


def applied(document: Document) -> list[dict[str, Any]]:
    """The plan's changes, each with `outcome`: done, failed or not reached."""
    status = {(stage["name"], stage["host"]): stage["status"] for stage in document["stages"]}
    words = {"ok": "done", "changed": "done", "failed": "failed"}
    return [
        {**change, "outcome": words.get(status.get((change["stage"], change["host"]), ""), "not reached")}
        for change in document["plan"].get("changes", [])
    ]


def _sentence(error: Mapping[str, str]) -> str:
    where = f"{error['where']}: " if error.get("where") else ""
    return f"{where}{error['what']}" + (f" ({error['hint']})" if error.get("hint") else "")


def _metrics(document: Document) -> list[Any]:
    return list(document.get("metrics") or [])


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _xml(text: Any) -> str:
    return _XML_FORBIDDEN.sub("\ufffd", str(text))
