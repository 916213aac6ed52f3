"""`canaryctl runs compare`: two runs side by side."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Printer, aligned, field, print_json

if TYPE_CHECKING:
    from canaryctl.commands.runs import Line


class CompareOutput(StrEnum):
    """Values of `--output` here."""

    TEXT = "text"
    JSON = "json"
    MD = "md"
    HTML = "html"


def compare(
    a: Annotated[
        str | None, typer.Argument(metavar="[A]", help="The baseline, or the earlier run; alone, the run to compare.")
    ] = None,
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="The run beside it.")] = None,
    output: Annotated[
        CompareOutput, typer.Option("--output", "-o", callback=opt.choose, help="How to print the answer.")
    ] = CompareOutput.TEXT,
    runs: opt.RunsDir = None,
) -> None:
    """Put two runs side by side: verdicts, sizes, start-up, memory, latencies, log lines.

    One run alone (the newest, if none is named) is compared with its baseline, or else with the run before it in the
    same environment.
    """
    from canaryctl.commands.runs import opened_comparison, rendered_comparison

    with opened_comparison(runs, a, b) as comparison:
        if output is CompareOutput.JSON:
            print_json(comparison)
        elif output is CompareOutput.TEXT:
            print_comparison(comparison, Printer(sys.stdout))
        else:
            sys.stdout.buffer.write(rendered_comparison(comparison, output.value))


_LONGEST = 40  # characters of a label that stands beside its figures


def print_comparison(comparison: dict[str, Any], to: Printer) -> None:
    """Tables under each other, their columns in line."""
    from canaryctl.commands.runs import tables

    found = tables(comparison)
    titles = [field(comparison[side]["title"]) for side in ("a", "b")]
    for side, name in (("a", "left"), ("b", "right")):
        run = comparison[side]
        what = " ".join(field(run[key]) for key in ("command", "environment", "variant") if run[key])
        to.line(f"{name:<6} {field(run['id'])}  {what}  {to.verdict(run['verdict'])}")
    rows = [
        cells for table in found for cells in ([table.title, *titles, ""], *(_cells(line, to) for line in table.lines))
    ]
    lines = iter(aligned(rows, most=_LONGEST))
    for table in found:
        to.line()
        to.line(to.paint(next(lines), "bold"))
        for line in table.lines:
            if len(field(line.label)) > _LONGEST:  # a log line: the figures go below it
                to.line(field(line.label))
            to.line(next(lines).replace("→", to.arrow()))
    to.stream.flush()


def _cells(line: Line, to: Printer) -> list[str]:
    name = field(line.label)
    figures = (to.paint(field(text), _style(one)) for text, one in zip((line.a, line.b), line.verdicts, strict=True))
    change = to.paint(field(line.change), {"better": "good", "worse": "bad"}.get(line.mood, ""))
    return [name if len(name) <= _LONGEST else "", *figures, change]


def _style(verdict: str) -> str:
    return {"passed": "good", "failed": "bad", "inconclusive": "warn"}.get(verdict, "")
