"""The command audit, and its findings as text."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canaryctl.audit.severity import Severity
from canaryctl.cli.options import choose, takes
from canaryctl.cli.output import Printer, clean, print_error, print_json, print_result

if TYPE_CHECKING:
    from canaryctl.scene import Request

_MOODS = {"critical": "failed", "error": "failed", "warning": "inconclusive", "info": "skipped"}


class AuditOutput(StrEnum):
    """Values of `audit --output`."""

    TEXT = "text"
    JSON = "json"
    NDJSON = "ndjson"
    SARIF = "sarif"
    MARKDOWN = "markdown"


AuditOutputMode = Annotated[AuditOutput, typer.Option("--output", "-o", callback=choose, help="How to print findings.")]


@takes("runs", output=(AuditOutputMode, AuditOutput.TEXT))
def audit(
    request: Request,
    output: AuditOutput,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Inventory and stack files alone; touch no host.")] = False,
    fail_on: Annotated[
        Severity, typer.Option("--fail-on", help="Exit 1 where a finding is this bad or worse.")
    ] = Severity.ERROR,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="ID", help="Findings of this rule do not count.", show_default=False),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="RUN", help="Say what changed since an earlier audit.", show_default=False),
    ] = None,
) -> None:
    """Find what is wrong with an environment, on its hosts and in its files. Changes nothing."""
    from canaryctl import auditing
    from canaryctl.cli.progress import make_progress

    options = auditing.AuditOptions(offline, fail_on, tuple(ignore or ()), compare)
    quiet = output not in (AuditOutput.TEXT, AuditOutput.NDJSON)
    with make_progress("json" if quiet else output.value) as progress:
        document = auditing.audit(request, options, [progress])
    _print(document, output)
    raise typer.Exit(int(document["exit_code"]))


def _print(document: Mapping[str, Any], output: AuditOutput) -> None:
    if output in (AuditOutput.JSON, AuditOutput.NDJSON):
        print_result(document, output.value)
        return
    if output is AuditOutput.SARIF:
        from canaryctl import __version__
        from canaryctl.audit.registry import all_rules
        from canaryctl.audit.sarif import to_sarif

        print_json(to_sarif(document["findings"], all_rules().values(), __version__))
    elif output is AuditOutput.MARKDOWN:
        from canaryctl.record.report import render_findings_markdown

        Printer(sys.stdout).line(render_findings_markdown(document))
    else:
        print_findings(document, Printer(sys.stdout))
    if document["error"]:
        print_error(document["error"])


def print_findings(document: Mapping[str, Any], to: Printer) -> None:
    """Findings worst first, what changed since the run they are compared with, and the count."""
    told = document["audit"]
    for row in document["findings"]:
        if row["ignored"] is None:
            _print_finding(row, to)
    ignored = [row for row in document["findings"] if row["ignored"] is not None]
    for row in ignored:
        to.line(f"  {to.symbol('skipped')} ignored {row['id']}  {clean(row['where'])}")
        to.wrapped(f"{row['what']}; because: {row['ignored']}", 6)
    if told and told["compared"]:
        _print_compared(told["compared"], to)
    counts = [f"{count} {severity}" for severity, count in told["counts"].items() if count] if told else []
    counts += [f"{len(ignored)} ignored"] if ignored else []
    to.line()
    for warning in document["warnings"]:
        to.wrapped(f"warning: {warning['what']}", 2)
    if document["simulated"]:
        to.line("  the GPU of at least one host is a simulation: this proves the plumbing, not the hardware")
    to.line(f"  {'findings':<10} {', '.join(counts) or 'none'}")
    to.line(f"  {'verdict':<10} {to.verdict(document['verdict'])} in {document['seconds'] or 0:.1f} s")
    to.line(f"  {'run':<10} {document['id']}")
    to.line(f"  {'evidence':<10} {document['directory']}")


def _print_finding(row: Mapping[str, Any], to: Printer) -> None:
    mood = _MOODS[row["severity"]]
    to.line(f"  {to.symbol(mood)} {to.verdict(row['severity'], 8)} {row['id']}  {clean(row['where'])}")
    to.wrapped(row["what"], 6)
    if row["fix"]:
        to.wrapped(f"fix: {row['fix']}", 6)
    for line in clean(row["diff"] or "").splitlines():
        to.line(f"        {line}")


def _print_compared(compared: Mapping[str, Any], to: Printer) -> None:
    to.line()
    to.line(to.paint(f"  since {compared['run']}", "bold"))
    for word in ("new", "gone"):
        for row in compared[word]:
            to.line(f"    {word:<5} {row['severity']:<8} {row['id']}  {clean(row['where'])}: {clean(row['what'])}")
    to.line(f"    {len(compared['new'])} new, {len(compared['gone'])} gone, {len(compared['same'])} the same")
