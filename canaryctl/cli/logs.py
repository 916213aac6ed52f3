"""The command `logs`: each host and each service in a colour of its own. It leaves no run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, field, leave

if TYPE_CHECKING:
    from canaryctl.commands.logs import LogLine
    from canaryctl.commands.request import Request

# Red is left to errors, and black and white to the terminal's own text.
_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


class LogPrinter:
    """Prints lines; a name keeps the colour that it had first."""

    def __init__(self, to: Printer) -> None:
        self._to = to
        self._colours: dict[str, str] = {}
        self._widths = {"host": 0, "service": 0}

    def __call__(self, line: LogLine) -> None:
        """Print a line."""
        host, service = self._name("host", line.host), self._name("service", line.service)
        self._to.line(f"{host}  {service}  {' '.join(part for part in (line.time, field(line.text)) if part)}".rstrip())
        self._to.stream.flush()

    def _name(self, kind: str, name: str) -> str:
        self._widths[kind] = max(self._widths[kind], len(name))
        padded = field(name).ljust(self._widths[kind])
        if not self._to.colour or not name:
            return padded
        colour = self._colours.setdefault(f"{kind} {name}", _COLOURS[len(self._colours) % len(_COLOURS)])
        return self._to.paint(padded, colour)


@opt.takes()
def logs(
    request: Request,
    output: Output,
    *,
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="All services, if left out.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Lines of each service to begin with.")] = 100,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Only lines of this last time, such as 10m.")
    ] = None,
) -> None:
    """Print the services' logs of all hosts by time, each line with its host and service."""
    from canaryctl.commands import logs

    seconds = None if since is None else opt.duration(since, "--since")
    say = LogPrinter(Printer(sys.stdout))
    failures = logs.logs(request, service, tail=tail, since=seconds, follow=follow, say=say)
    leave(failures)
