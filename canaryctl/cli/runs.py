"""`canaryctl runs`: look at the evidence that is kept on this machine."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.compare import compare
from canaryctl.cli.findings import print_findings
from canaryctl.cli.output import Output, Printer, aligned, field, print_error, print_event, print_json
from canaryctl.cli.prune import prune
from canaryctl.cli.results import print_run
from canaryctl.commands.words import human_size

app = typer.Typer(no_args_is_help=True, help="List, show, compare, verify, export and prune what runs left behind.")

RunArgument = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Id, unique prefix or directory; the newest if left out.")
]


class Format(StrEnum):
    """Values of `--format`."""

    MD = "md"
    HTML = "html"
    JUNIT = "junit"
    JSON = "json"


@app.command("list")
def list_(
    environment: Annotated[str | None, typer.Argument(metavar="[ENV]", help="Only runs of this environment.")] = None,
    output: opt.OutputMode = Output.TEXT,
    runs: opt.RunsDir = None,
) -> None:
    """List runs, newest first."""
    from canaryctl.commands.runs import list_runs, runs_directory

    directory = runs_directory(runs)
    found = list_runs(directory, environment)
    if output is Output.JSON:
        print_json({"runs": found})
        return
    if output is Output.NDJSON:
        for summary in found:
            print_event(summary, sys.stdout)
        return
    to = Printer(sys.stdout)
    if not found:
        to.line(f"no runs yet in {directory}; `canaryctl deploy ENVIRONMENT` makes one")
        return
    rows = [["RUN", "ENVIRONMENT", "VERDICT", "SECONDS", "RELEASE", ""]]
    for run in found:
        seconds = f"{run['seconds']:.1f}" if run["seconds"] is not None else ""
        cells = [field(run[key] or "") for key in ("id", "environment", "release", "role")]
        rows.append([*cells[:2], to.verdict(run["verdict"]), f"{seconds:>7}", cells[2][:12], cells[3]])
    heading, *lines = aligned(rows, least={2: 12})
    for line in (to.paint(heading, "bold"), *lines):
        to.line(line)


@app.command()
def show(run: RunArgument = None, output: opt.OutputMode = Output.TEXT, runs: opt.RunsDir = None) -> None:
    """Show a run: its rows, images, stages, error, and where its evidence is."""
    from canaryctl.commands.runs import opened_run

    with opened_run(runs, run) as stored:
        if output is Output.TEXT:
            _show(stored.document, Printer(sys.stdout))
        elif output is Output.JSON:
            print_json(stored.document)
        else:
            print_event(stored.document, sys.stdout)


def _show(document: dict[str, Any], to: Printer) -> None:
    """A run as text."""
    of = f" of {document['stack']}" if document["stack"] else ""
    title = f"{document['command']}{of} on {document['environment']}, {document['started'] or 'unknown'}"
    to.line(to.paint(field(title), "bold"))
    to.line()
    if document["audit"]:
        print_findings(document, to)
    else:
        print_run(document, to, every_stage=True)
    for name, image in document["release"]["images"].items():
        to.line(f"  {'image':<10} {field(name):<14} {human_size(image.get('size')):>8}  {field(image.get('id', ''))}")
    if document["error"]:
        to.line()
        print_error(document["error"], sys.stdout)


@app.command()
def verify(run: RunArgument = None, runs: opt.RunsDir = None) -> None:
    """Check a run's files against its manifest; exit 1 if they differ."""
    from canaryctl.commands.runs import differences

    path, problems = differences(runs, run)
    to = Printer(sys.stdout)
    for problem in problems:
        to.line(f"{to.symbol('failed')} {field(problem)}")
    if problems:
        to.line(f"{path.name} does not verify: {len(problems)} differences in {path}")
        raise typer.Exit(1)
    to.line(f"{to.symbol('passed')} {path.name} verifies")


@app.command()
def export(
    run: RunArgument = None,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.MD,
    runs: opt.RunsDir = None,
) -> None:
    """Print a run's report to standard output."""
    from canaryctl.commands.runs import opened_run, rendered

    with opened_run(runs, run) as stored:
        if format_ is Format.JSON:
            print_json(stored.document)
        else:  # the bytes: a terminal's own encoding would make a lie of what the report says of itself
            sys.stdout.buffer.write(rendered(stored.document, format_.value))


@app.command("open")
def open_(
    run: RunArgument = None,
    print_: Annotated[bool, typer.Option("--print", help="Only print the path.")] = False,
    runs: opt.RunsDir = None,
) -> None:
    """Open a run's report in the browser; where there is none, print its path."""
    import webbrowser

    from canaryctl.commands.runs import report_file

    path = report_file(runs, run)
    sys.stdout.write(f"{path}\n")
    sys.stdout.flush()
    if not print_ and _has_display():
        webbrowser.open(path.as_uri())


def _has_display() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


app.command()(compare)
app.command()(prune)
