"""`canaryctl lock`: see who holds an environment's lock, hold it by hand, release it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from canaryctl.cli.options import duration, takes
from canaryctl.cli.output import Output, leave, print_answer

if TYPE_CHECKING:
    from canaryctl.commands.locks import LockFacts
    from canaryctl.commands.request import Request

app = typer.Typer(no_args_is_help=True, help="See, hold and release the lock that lets one run at a time change hosts.")


@takes()
def status(request: Request, output: Output) -> None:
    """Say who holds the lock on every host, since when and why."""
    from canaryctl.commands import locks

    found, failures = locks.status(request)
    lines = [
        f"{host}: {line}"
        for host, held in found.locks.items()
        for line in [*lock_lines(held["stack"]), *lock_lines(held["host"], "the whole host is ")] or ["free"]
    ]
    print_answer(found, lines, output)
    leave(failures)


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

    done = locks.acquire(request, message, duration(ttl, "--ttl"))
    lines = [f"displaced: {line}" for lock in done.displaced for line in lock_lines(lock)]
    lines.append(f"{done.environment} is locked for {ttl} on {', '.join(done.locked)}")
    print_answer(done, lines, output)


@takes("break_lock")
def release(request: Request, output: Output) -> None:
    """Release one's own held lock; with --break-lock whosever it is."""
    from canaryctl.commands import locks

    done = locks.release(request)
    lines = [
        f"{host}: released, was {line}"
        for host, given_up in done.released.items()
        for lock in given_up
        for line in lock_lines(lock)
    ]
    print_answer(done, lines or [f"{done.environment} was not locked"], output)


def lock_lines(lock: LockFacts | None, of: str = "") -> list[str]:
    """A lock as lines of status; none where nobody holds it."""
    if not lock:
        return []
    when = f", expired at {lock.expires}" if lock.expired else f", until {lock.expires}" if lock.held else ""
    return [f"{of}locked by {lock.words()}{when}"]


for command in (status, acquire, release):
    app.command()(command)
