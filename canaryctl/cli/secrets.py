"""`canaryctl secrets`: which secrets there are, here and on hosts. Shows no value of any."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, field, print_json

if TYPE_CHECKING:
    from canaryctl.commands.request import Request

app = typer.Typer(no_args_is_help=True, help="Say which secrets there are, here and on hosts; never their values.")


@opt.takes()
def check(request: Request, output: Output) -> None:
    """Look every secret of an environment up: where it comes from and whether it is there. Touches no host."""
    from canaryctl.commands import secrets

    answer = secrets.check(request)
    _show(answer, secrets.check_lines(answer), output)
    raise typer.Exit(0 if all(row["present"] for row in answer["secrets"]) else 2)


@opt.takes()
def diff(request: Request, output: Output) -> None:
    """Compare the secrets with what hosts hold, by name and fingerprint. Changes nothing."""
    from canaryctl.cli.output import print_error
    from canaryctl.commands import secrets

    answer, failures = secrets.diff(request)
    _show(answer, secrets.diff_lines(answer), output)
    for failure in failures:
        print_error(failure)
    raise typer.Exit(2 if answer["missing"] else 3 if failures else 0)


def _show(answer: dict[str, object], lines: list[str], output: Output) -> None:
    if output is not Output.TEXT:
        print_json(answer)
        return
    to = Printer(sys.stdout)
    for line in lines:
        to.line(field(line))
    to.stream.flush()


for command in (check, diff):
    app.command()(command)
