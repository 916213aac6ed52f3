"""`canaryctl runs`: look at the evidence that is kept on this machine."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from canaryctl.cli.output import Output, Printer, print_json, print_run

app = typer.Typer(no_args_is_help=True, help="List, show, verify and export what runs left behind.")

RunArgument = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Id, unique prefix or directory; the newest if left out.")
]
RunsOption = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Where runs are kept; default: the project's.")
]
OutputOption = Annotated[Output, typer.Option("--output", help="How to print the answer.")]


class Format(StrEnum):
    """Values of `--format`."""

    MD = "md"
    HTML = "html"
    JUNIT = "junit"
    JSON = "json"


@app.command("list")
def list_(
    environment: Annotated[str | None, typer.Argument(metavar="[ENV]", help="Only runs of this environment.")] = None,
    output: OutputOption = Output.TEXT,
    runs: RunsOption = None,
) -> None:
    """List runs, newest first."""
    from canaryctl.record.store import list_runs

    directory = _runs_dir(runs)
    found = list_runs(directory, environment)
    if output is Output.JSON:
        print_json({"runs": found})
        return
    if output is Output.NDJSON:
        from canaryctl.cli.output import print_event

        for summary in found:
            print_event(summary, sys.stdout)
        return
    to = Printer(sys.stdout)
    if not found:
        to.line(f"no runs yet in {directory}; `canaryctl deploy ENVIRONMENT` makes one")
        return
    widths = [max(len(str(run[key])) for run in found) for key in ("id", "environment")]
    to.line(to.paint(f"{'RUN':<{widths[0]}}  {'ENVIRONMENT':<{widths[1]}}  VERDICT       SECONDS  RELEASE", "bold"))
    for run in found:
        seconds = f"{run['seconds']:.1f}" if run["seconds"] is not None else ""
        environment_column = run["environment"].ljust(max(widths[1], len("ENVIRONMENT")))
        to.line(
            f"{run['id']:<{widths[0]}}  {environment_column}  {to.verdict(run['verdict'], 12)}  {seconds:>7}  "
            f"{(run['release'] or '')[:12]}  {run['role'] or ''}".rstrip()
        )


@app.command()
def show(run: RunArgument = None, output: OutputOption = Output.TEXT, runs: RunsOption = None) -> None:
    """Show a run: its rows, images, stages, error, and where its evidence is."""
    from canaryctl.record.report import human_size
    from canaryctl.record.store import load_run

    stored = load_run(_runs_dir(runs), run)
    document = stored.document
    if output is not Output.TEXT:
        from canaryctl.cli.output import print_event

        print_json(document) if output is Output.JSON else print_event(document, sys.stdout)
        return
    to = Printer(sys.stdout)
    of = f" of {document['stack']}" if document["stack"] else ""
    to.line(
        to.paint(f"{document['command']}{of} on {document['environment']}, {document['started'] or 'unknown'}", "bold")
    )
    to.line()
    print_run(document, to, every_stage=True)
    for name, image in document["release"]["images"].items():
        to.line(f"  {'image':<10} {name:<14} {human_size(image.get('size')):>8}  {image.get('id', '')}")
    if document["error"]:
        from canaryctl.cli.output import print_error

        to.line()
        print_error(document["error"], sys.stdout)


@app.command()
def verify(run: RunArgument = None, runs: RunsOption = None) -> None:
    """Check a run's files against its manifest; exit 1 if they differ."""
    from canaryctl.record.store import load_run
    from canaryctl.record.store import verify as verify_run

    stored = load_run(_runs_dir(runs), run)
    problems = verify_run(stored.path)
    to = Printer(sys.stdout)
    for problem in problems:
        to.line(f"{to.symbol('failed')} {problem}")
    if problems:
        to.line(f"{stored.document['id']} does not verify: {len(problems)} differences in {stored.path}")
        raise typer.Exit(1)
    to.line(f"{to.symbol('passed')} {stored.document['id']} verifies")


@app.command()
def export(
    run: RunArgument = None,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.MD,
    runs: RunsOption = None,
) -> None:
    """Print a run's report to standard output."""
    from canaryctl.record.report import render_html, render_junit, render_markdown
    from canaryctl.record.store import load_run

    document = load_run(_runs_dir(runs), run).document
    if format_ is Format.JSON:
        print_json(document)
        return
    render = {Format.MD: render_markdown, Format.HTML: render_html, Format.JUNIT: render_junit}[format_]
    # Each of these says UTF-8 of itself, or is taken for it; a terminal's own encoding would make that a lie.
    sys.stdout.buffer.write(render(document).encode("utf-8", "backslashreplace"))


def _runs_dir(given: Path | None) -> Path:
    """--runs, else CANARYCTL_RUNS, else the project's; the first two need no project."""
    from canaryctl.config.project import load_project

    chosen = given or os.environ.get("CANARYCTL_RUNS")
    return Path(chosen) if chosen else load_project().runs
