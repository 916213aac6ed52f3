"""Runs and plans as people read them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

from canaryctl.cli.output import (
    Output,
    Printer,
    aligned,
    can_encode,
    field,
    print_error,
    print_event,
    print_json,
)
from canaryctl.commands.words import flaky_words

_MARKS = {"passed": "✅ PASS", "failed": "❌ FAIL", "inconclusive": "⚠️ inconclusive", "skipped": "⏭ skipped"}


def print_result(
    document: Mapping[str, Any], mode: Output | str, *, out: IO[str] | None = None, err: IO[str] | None = None
) -> None:
    """The result of a run: run.json as json, one more event as ndjson, or the rows and the verdict as text.

    The error, if any, goes to standard error; with json and ndjson it is in the document and printed as well.
    """
    out, err = out or sys.stdout, err or sys.stderr
    if mode == Output.JSON:
        print_json(document, out)
    elif mode == Output.NDJSON:
        print_event({"time": document.get("finished"), "type": "result", "document": document}, out)
    else:
        print_run(document, Printer(out))
    out.flush()
    if document.get("error"):
        print_error(document["error"], err)


def print_run(document: Mapping[str, Any], to: Printer, every_stage: bool = False) -> None:
    """A run as text: rows, contracts that broke, stages (those that changed something), verdict, release, evidence."""
    _print_probes(document.get("probes") or [], to)
    _print_metrics(document.get("metrics") or [], to)
    for row in document.get("contracts") or []:
        if row["verdict"] != "passed":
            to.line(f"  {to.symbol(row['verdict'])} contract {field(row['image'])}: {field(row['check'])}")
            to.wrapped(row.get("reason") or row.get("found") or row["verdict"], 6)
    _print_stages(document, to, every_stage)
    _print_facts(document, to)


def print_plan(changes: Sequence[Mapping[str, Any]], out: IO[str] | None = None) -> None:
    """What would be changed, host by host, each with its reason."""
    to = Printer(out or sys.stdout)
    if not changes:
        to.line("nothing to change")
    for host in dict.fromkeys(change["host"] for change in changes):
        to.line(to.paint(field(host), "bold"))
        for change in changes:
            if change["host"] == host:
                to.line(f"  {field(change['stage']):<10} {field(change['what'])}")
                if change.get("reason"):
                    to.wrapped(f"because {change['reason']}", 13)
    to.stream.flush()


def print_beside(baseline: Mapping[str, Any], candidate: Mapping[str, Any], out: IO[str] | None = None) -> None:
    """The rows of a baseline and of its candidate side by side; nothing where there is no candidate."""
    if candidate["id"] == baseline["id"]:
        return
    to = Printer(out or sys.stdout)
    rows = [{row["name"]: row["verdict"] for row in run["probes"] + run["metrics"]} for run in (baseline, candidate)]
    titles = [f"{run['role']} {run['variant']}" for run in (baseline, candidate)]
    names = list(dict.fromkeys([*rows[0], *rows[1]]))
    table = [["Test", *titles], *([field(name), *(_mark(found.get(name), to) for found in rows)] for name in names)]
    heading, *lines = aligned(table, least={1: 15})
    to.line(to.paint(f"  {heading}", "bold"))
    for line in lines:
        to.line(f"  {line}")
    to.line()


def _mark(verdict: str | None, to: Printer) -> str:
    if verdict is None:
        return "no such row"
    mark = _MARKS.get(verdict, verdict)
    return mark if can_encode(to.stream, mark) else verdict


def _print_probes(probes: Sequence[Mapping[str, Any]], to: Printer) -> None:
    cells = []
    for row in probes:
        seconds = f"{row['seconds']:.1f} s" if row.get("seconds") is not None else ""
        aside = "" if row.get("gates", True) else "  does not gate"
        cells.append([field(row["name"]), to.verdict(row["verdict"]), f"{seconds:>8}{aside}"])
    for row, line in zip(probes, aligned(cells, least={1: 12}, most=40), strict=True):
        to.line(f"  {to.symbol(row['verdict'])} {line}")
        if row.get("reason") and row["verdict"] != "passed":
            to.wrapped(row["reason"], 6)
        elif row.get("flaky"):
            to.wrapped(flaky_words(row), 6)
    if probes:
        to.line()


def _print_metrics(metrics: Sequence[Mapping[str, Any]], to: Printer) -> None:
    for row in metrics:
        aside = "" if row["gates"] else "; does not gate"
        to.line(f"  {to.symbol(row['verdict'])} metric {field(row['name'])}: {to.verdict(row['verdict'])}{aside}")
        to.wrapped(row["reason"], 6)
    if metrics:
        to.line()


def _print_stages(document: Mapping[str, Any], to: Printer, every_stage: bool) -> None:
    stages = document.get("stages") or []
    changed = [stage for stage in stages if stage["status"] in ("changed", "failed")]
    for stage in stages if every_stage else changed:
        to.line(
            f"  {to.symbol(stage['status'])} {field(stage['name']):<10} {field(stage['host']):<16} "
            f"{to.verdict(stage['status'], 8)} {stage['seconds']:>6.1f} s"
        )
    if not changed and document.get("finished") and not document.get("error"):
        to.line("  nothing changed on any host")
    to.line()


def _print_facts(document: Mapping[str, Any], to: Printer) -> None:
    release, migrations = document.get("release") or {}, document.get("migrations") or {}
    before, after = migrations.get("before"), migrations.get("after")
    seconds, variant = document.get("seconds"), document.get("variant")
    directory = document.get("directory")
    facts = {
        "verdict": to.verdict(document["verdict"]) + (f" in {seconds:.1f} s" if seconds is not None else ""),
        "run": document["id"],
        "release": release.get("id") and f"{release['id']}" + (f" ({variant})" if variant else ""),
        "migration": (after or before) and (after if before == after else f"{before or 'empty'} {to.arrow()} {after}"),
        "evidence": directory,
        "report": directory and f"{directory}/report.md" if document.get("finished") else None,
    }
    if document.get("simulated"):
        to.line("  the GPU of at least one host is a simulation: this proves the plumbing, not the hardware")
    for note in document.get("notes") or []:
        to.wrapped(f"note: {note}", 2)
    for warning in document.get("warnings") or []:
        where = f"{warning['where']}: " if warning.get("where") else ""
        to.wrapped(f"warning: {where}{warning['what']}", 2)
    for label, value in facts.items():
        if value:
            to.line(f"  {label:<10} {field(value)}")
