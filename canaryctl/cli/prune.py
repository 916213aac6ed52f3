"""`canaryctl runs prune`: make room, and keep the proof."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.ask import require_agreement
from canaryctl.cli.output import Printer, leave


def prune(
    keep: Annotated[int | None, typer.Option("--keep", min=0, metavar="N", help="Of each environment.")] = None,
    older_than: Annotated[str | None, typer.Option("--older-than", metavar="AGE", help="For example 30d.")] = None,
    environment: Annotated[str | None, typer.Option("--environment", metavar="ENV", help="Only this one's.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs: opt.RunsDir = None,
) -> None:
    """Remove old runs from this machine, never the newest that passed in an environment.

    With both --keep and --older-than, a run must be past both to go.
    """
    from canaryctl.commands import runs as evidence
    from canaryctl.errors import ConfigError

    if keep is None and older_than is None:
        raise ConfigError("nothing says which runs may go", "", "for example --keep 20, or --older-than 30d, or both")
    directory = evidence.runs_directory(runs)
    found = evidence.plan_prune(directory, keep=keep, older_than=_age(older_than), environment=environment)
    to = Printer(sys.stdout)
    for refused in found.refused:
        to.line(f"left alone: {refused}")
    for run in found.going:
        to.line(f"{run.document['id']}  {run.document['environment']}  {run.document['verdict']}")
    if found.going:
        question = f"remove these {len(found.going)} runs from {directory}?"
        require_agreement(question, yes, "nothing was removed", err=False)
    failures = evidence.prune(found)
    to.line(
        f"{len(found.going) - len(failures)} of {len(found.going)} runs removed" if found.going else "nothing to go"
    )
    to.stream.flush()
    leave(failures)


def _age(text: str | None) -> float | None:
    """Seconds of --older-than."""
    from canaryctl.commands.request import parse_duration
    from canaryctl.errors import ConfigError

    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise ConfigError(str(error), "--older-than", "for example 30d or 12h") from None
