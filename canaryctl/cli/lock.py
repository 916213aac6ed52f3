"""`canaryctl lock`: see who holds an environment's lock, hold it by hand, release it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from canaryctl.cli.options import duration, takes
from canaryctl.cli.output import Output, Printer, field, print_error, print_json

if TYPE_CHECKING:
    from canaryctl.commands.request import Request

app = typer.Typer(no_args_is_help=True, help="See, hold and release the lock that lets one run at a time change hosts.")


@takes()
def status(request: Request, output: Output) -> None:
    """Say who holds the lock on every host, since when and why."""
    from canaryctl.commands import locks

    answer, failures = locks.status(request)
    if output is Output.TEXT:
        to = Printer(sys.stdout)
        for host, found in answer["locks"].items():
            said = [*locks.lock_lines(found["stack"]), *locks.lock_lines(found["host"], "the whole host is ")]
            for line in said or ["free"]:
                to.line(field(f"{host}: {line}"))
    else:
        print_json(answer)
    for failure in failures:
        print_error(failure)
    raise typer.Exit(3 if failures else 0)


@takes("break_lock")
def acquire(
    request: Request,
    output: Output,
    *,
    message: Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="Why, for those whom it stops.")],
    ttl: Annotated[str, typer.Option("--ttl", metavar="DURATION", help="How long at most.")] = "8h",
) -> None:
    """Hold the lock, tied to no process: nobody changes the environment until it is released, its holder neither."""
    from canaryctl.commands import locks

    answer = locks.acquire(request, message, duration(ttl, "--ttl"))
    if output is not Output.TEXT:
        print_json(answer)
        return
    to = Printer(sys.stdout)
    for lock in answer["displaced"]:
        to.line(field(f"displaced: {' '.join(locks.lock_lines(lock))}"))
    to.line(f"{answer['environment']} is locked for {ttl} on {', '.join(answer['locked'])}")


@takes("break_lock")
def release(request: Request, output: Output) -> None:
    """Release one's own held lock; with --break-lock whosever it is."""
    from canaryctl.commands import locks

    answer = locks.release(request)
    if output is not Output.TEXT:
        print_json(answer)
        return
    to = Printer(sys.stdout)
    for host, gone in answer["released"].items():
        for lock in gone:
            to.line(field(f"{host}: released, was {' '.join(locks.lock_lines(lock))}"))
    if not answer["released"]:
        to.line(f"{answer['environment']} was not locked")


for command in (status, acquire, release):
    app.command()(command)
