"""The command `history`: what happened to an environment. It leaves no run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, field, print_event, print_json

if TYPE_CHECKING:
    from canaryctl.commands.request import Request


@opt.takes()
def history(
    request: Request,
    output: Output,
    *,
    limit_lines: Annotated[
        int, typer.Option("--limit-lines", metavar="N", min=1, max=100_000, help="The newest so many of each host.")
    ] = 50,
) -> None:
    """Say what was changed on an environment, when, by whom, and how it was judged; newest first."""
    import sys

    from canaryctl.cli.output import print_error
    from canaryctl.commands import history

    answer, failures = history.history(request, limit_lines)
    if output is Output.JSON:
        print_json(answer)
    elif output is Output.NDJSON:
        for line in answer["lines"]:
            print_event(line, sys.stdout)
    else:
        to = Printer(sys.stdout)
        for text in history.history_lines(answer):
            to.line(field(text).replace("->", to.arrow()))
    for failure in failures:
        print_error(failure)
    raise typer.Exit(3 if failures else 0)
