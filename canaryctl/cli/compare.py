"""`canaryctl runs compare`: two runs side by side."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Printer, field, print_json


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


def print_comparison(comparison: dict[str, Any], to: Printer) -> None:
    """Tables under each other, their columns in line."""
    from canaryctl.commands.runs import tables

    found = tables(comparison)
    lines = [line for table in found for line in table.lines]
    titles = [field(comparison[side]["title"]) for side in ("a", "b")]
    label = min(max((len(line.label) for line in lines), default=0), 40)
    columns = [
        min(max([len(title), *(len(cell) for cell in cells)]), 34)
        for title, cells in zip(titles, ([line.a for line in lines], [line.b for line in lines]), strict=True)
    ]
    for side, name in (("a", "left"), ("b", "right")):
        run = comparison[side]
        what = " ".join(field(run[key]) for key in ("command", "environment", "variant") if run[key])
        to.line(f"{name:<6} {field(run['id'])}  {what}  {to.verdict(run['verdict'])}")
    for table in found:
        to.line()
        heading = f"{table.title:<{label}}  {titles[0]:<{columns[0]}}  {titles[1]:<{columns[1]}}"
        to.line(to.paint(heading.rstrip(), "bold"))
        for line in table.lines:
            to.line(_row(line, label, columns, to).replace("→", to.arrow()))
    to.stream.flush()


def _row(line: Any, label: int, columns: list[int], to: Printer) -> str:
    moods = {"better": "good", "worse": "bad"}
    cells = [
        to.paint(field(text).ljust(width), _style(verdict))
        for text, verdict, width in zip((line.a, line.b), line.verdicts, columns, strict=True)
    ]
    change = to.paint(field(line.change), moods.get(line.mood, ""))
    name = field(line.label)
    if len(name) > label:  # a log line: the figures go below it
        return f"{name}\n{'':<{label}}  {cells[0]}  {cells[1]}  {change}".rstrip()
    return f"{name:<{label}}  {cells[0]}  {cells[1]}  {change}".rstrip()


def _style(verdict: str) -> str:
    return {"passed": "good", "failed": "bad", "inconclusive": "warn"}.get(verdict, "")
