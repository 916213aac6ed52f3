"""The command `exec`: run a command in a service's container. It leaves no run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer

if TYPE_CHECKING:
    from canaryctl.commands.request import Request


@opt.takes()
def execute(
    request: Request,
    output: Output,
    *,
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="A service of the stack.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The command and its arguments.")],
) -> None:
    """Run a command in a service's container, and exit with its exit code."""
    from canaryctl.commands import exec

    def write(number: int, data: bytes) -> None:
        while data:
            data = data[os.write(number, data) :]

    typed = sys.stdin is not None and sys.stdin.isatty()
    stdin = None if sys.stdin is None or typed else iter(lambda: os.read(0, 1 << 16), b"")
    code = exec.execute(
        request,
        service,
        command,
        stdin=stdin,
        terminal=typed and sys.stdout.isatty(),
        out=lambda data: write(1, data),
        err=lambda data: write(2, data),
        say=lambda text: Printer(sys.stderr).line(text),
    )
    raise typer.Exit(code)
