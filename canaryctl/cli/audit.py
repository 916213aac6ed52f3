"""The command audit."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canaryctl.cli.findings import print_findings
from canaryctl.cli.options import choose, takes
from canaryctl.cli.output import Printer, print_error, print_json
from canaryctl.cli.results import print_result
from canaryctl.commands.words import Severity

if TYPE_CHECKING:
    from canaryctl.commands.request import Request


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
    from canaryctl.cli.progress import make_progress
    from canaryctl.commands import audit

    options = audit.AuditOptions(offline, fail_on, tuple(ignore or ()), compare)
    quiet = output not in (AuditOutput.TEXT, AuditOutput.NDJSON)
    with make_progress("json" if quiet else output.value) as progress:
        document = audit.audit(request, options, [progress])
    _print(document, output)
    raise typer.Exit(int(document["exit_code"]))


def _print(document: dict[str, Any], output: AuditOutput) -> None:
    if output in (AuditOutput.JSON, AuditOutput.NDJSON):
        print_result(document, output.value)
        return
    if output is AuditOutput.SARIF:
        from canaryctl.commands.audit import findings_sarif

        print_json(findings_sarif(document))
    elif output is AuditOutput.MARKDOWN:
        from canaryctl.commands.audit import findings_markdown

        Printer(sys.stdout).line(findings_markdown(document))
    else:
        print_findings(document, Printer(sys.stdout))
    if document["error"]:
        print_error(document["error"])
