"""The command `status`: what an environment serves, or all do. It leaves no run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, field, print_error, print_json
from canaryctl.errors import worst_exit

if TYPE_CHECKING:
    from canaryctl.commands.request import Request


@opt.takes(all_environments=True)
def status(request: Request, output: Output) -> None:
    """Say what every host of ENV serves, or without ENV all environments at a glance. Changes nothing."""
    from canaryctl.commands import status

    if not request.environment:
        answer, problems = status.status_of_all(request)
        lines = status.overview_lines
    else:
        answer, failures = status.status(request)
        problems, lines = list(failures), status.status_lines
    if output is Output.TEXT:
        to = Printer(sys.stdout)
        for line in lines(answer):
            to.line(field(line))
    else:
        print_json(answer)
    for problem in problems:
        print_error(problem)
    raise typer.Exit(worst_exit([problem.exit_code for problem in problems]))
