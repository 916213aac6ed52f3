"""An audit's findings as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canaryctl.cli.output import Printer, clean, field

_MOODS = {"critical": "failed", "error": "failed", "warning": "inconclusive", "info": "skipped"}


def print_findings(document: Mapping[str, Any], to: Printer) -> None:
    """Findings worst first, what changed since the run they are compared with, and the count."""
    audit = document["audit"]
    for row in document["findings"]:
        if row["ignored"] is None:
            _print_finding(row, to)
    ignored = [row for row in document["findings"] if row["ignored"] is not None]
    for row in ignored:
        to.line(f"  {to.symbol('skipped')} ignored {field(row['id'])}  {field(row['where'])}")
        to.wrapped(f"{row['what']}; because: {row['ignored']}", 6)
    if audit and audit["compared"]:
        _print_compared(audit["compared"], to)
    counts = [f"{count} {severity}" for severity, count in audit["counts"].items() if count] if audit else []
    counts += [f"{len(ignored)} ignored"] if ignored else []
    to.line()
    for warning in document["warnings"]:
        to.wrapped(f"warning: {warning['what']}", 2)
    if document["simulated"]:
        to.line("  the GPU of at least one host is a simulation: this proves the plumbing, not the hardware")
    to.line(f"  {'findings':<10} {', '.join(counts) or 'none'}")
    to.line(f"  {'verdict':<10} {to.verdict(document['verdict'])} in {document['seconds'] or 0:.1f} s")
    to.line(f"  {'run':<10} {field(document['id'])}")
    to.line(f"  {'evidence':<10} {field(document['directory'])}")


def _print_finding(row: Mapping[str, Any], to: Printer) -> None:
    mood = _MOODS[row["severity"]]
    to.line(f"  {to.symbol(mood)} {to.verdict(row['severity'], 8)} {field(row['id'])}  {field(row['where'])}")
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
            what = f"{field(row['id'])}  {field(row['where'])}: {field(row['what'])}"
            to.line(f"    {word:<5} {field(row['severity']):<8} {what}")
    to.line(f"    {len(compared['new'])} new, {len(compared['gone'])} gone, {len(compared['same'])} the same")
