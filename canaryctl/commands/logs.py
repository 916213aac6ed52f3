"""What services say, from all hosts as one stream. Nothing is changed and no run is left."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from canaryctl.config.scrub import Scrubber
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError, HostError
from canaryctl.hosts import Connection, Fleet, observe
from canaryctl.hosts.sudo import as_root, with_password
from canaryctl.plan.deployment import Deployment, Request, load_deployment

LONGEST = 64 * 1024  # bytes of a line
MOST = 64 * 1024 * 1024  # bytes of one host's lines that are kept, to sort them by time
_OF_A_LINE = 500  # bytes that a line takes beside its text
# compose erases its cursor line whatever its options say.
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LINE = re.compile(r"(?P<service>\S.*?)(?:-(?P<number>\d+))?\s*\| (?P<time>\d{4}-\d\d-\d\dT\S+Z)(?: (?P<text>.*))?")

_ALIVE_EVERY = 2.0  # seconds


@dataclass(frozen=True)
class LogLine:
    """A line that a service wrote. `time` is Docker's, RFC 3339 to the nanosecond; '' for compose's own words."""

    host: str
    service: str
    time: str
    text: str


def logs(
    request: Request,
    service: str | None,
    *,
    tail: int,
    since: float | None,
    follow: bool,
    say: Callable[[LogLine], None],
) -> list[HostError]:
    """Say the lines of services: by time across hosts, or as they come with `follow`. Returns hosts that failed.

    Args:
        tail: lines of each service to begin with.
        since: seconds; older lines are left out.

    Raises:
        ConfigError: there is no such service.
    """
    deployment = load_deployment(request)
    require_service(deployment, service)
    scrub = Scrubber({**deployment.passwords, **deployment.configuration.secrets})
    wanted = [h for h in deployment.hosts if service is None or service in deployment.placed.get(h.name, ())]
    kept = KeptLines(host.name for host in wanted)
    turn = threading.Lock()

    def take(line: LogLine) -> None:
        with turn:
            say(line) if follow else kept.add(line)

    with Fleet(wanted, request.become_password) as fleet:
        seen = observe(fleet, fleet.hosts, stack=deployment.stack.stack)

        def read(connection: Connection) -> None:
            host, sudo = connection.host, seen.facts[connection.host].sudo
            command = logs_command(deployment.compose_project, service, tail, since, follow)
            lines = Lines()

            def feed(chunk: bytes) -> None:
                for line in lines.feed(chunk):
                    take(parse(host, scrub(line.decode(errors="replace"))))

            if follow and connection.sudo_password and sudo:
                _follow_with_password(connection, command, feed)
            else:
                connection.read(as_root(command, sudo), feed, timeout=None, tty=follow)
            if lines.rest:
                take(parse(host, scrub(lines.rest.decode(errors="replace"))))

        _, failures = fleet.each(seen.facts, read)
    for line in by_time(kept.lines):
        say(line)
    return [*seen.failures.values(), *failures.values()]


def logs_command(project: str, service: str | None, tail: int, since: float | None, follow: bool) -> str:
    """The command that prints the logs of a compose project, or of one of its services; arguments as for `logs`."""
    return (
        f"docker compose -p {shlex.quote(project)} logs --no-color --timestamps --tail {tail}"
        f"{f' --since {since:.3f}s' if since is not None else ''}{' --follow' if follow else ''}"
        f"{f' {shlex.quote(service)}' if service else ''} 2>&1"
    )


class KeptLines:
    """Lines of hosts, to be sorted by their times once all are there. What one host may fill of memory is bounded."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.lines: dict[str, list[LogLine]] = {host: [] for host in hosts}
        self._room = dict.fromkeys(self.lines, MOST)

    def add(self, line: LogLine) -> None:
        """Keep a line. Raises HostError where there is no room for it."""
        self._room[line.host] -= len(line.text) + _OF_A_LINE
        if self._room[line.host] < 0:
            raise HostError(
                "its logs are longer than can be sorted by time here",
                line.host,
                "ask for less with --tail or --since, or follow them with --follow",
                reason="agent",
            )
        self.lines[line.host].append(line)


class Lines:
    """Bytes as they come, as lines. One longer than LONGEST comes in pieces: one without end would fill memory."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that a chunk completes."""
        *whole, self.rest = (self.rest + chunk).split(b"\n")
        for line in whole:
            yield from (line[at : at + LONGEST] for at in range(0, max(len(line), 1), LONGEST))
        while len(self.rest) > LONGEST:
            yield self.rest[:LONGEST]
            self.rest = self.rest[LONGEST:]


def _follow_with_password(connection: Connection, command: str, feed: Callable[[bytes], None]) -> None:
    """Follow where sudo asks for a password, which a terminal would echo.

    Without a terminal nothing ends the command when the connection goes away. So it ends with its standard input, in
    which a line a moment says that somebody is still there; where the command has ended, that line ends its pipeline.
    """
    over = threading.Event()

    def alive() -> Iterator[bytes]:
        while not over.wait(_ALIVE_EVERY):
            yield b"\n"

    watched = shlex.quote(while_input_lasts(command))
    asking, chunks = with_password(as_root(f"sh -c {watched}"), alive(), connection.sudo_password)
    try:
        connection.execute(asking, chunks, feed, timeout=None)
    finally:
        over.set()


def while_input_lasts(command: str) -> str:
    """A line for a shell that runs `command` until it ends by itself, or standard input does."""
    return (
        f"exec 3<&0; {command} </dev/null 3<&- & child=$!; "
        "(while read -r _; do :; done; kill $child) <&3 >/dev/null 2>&1 & watcher=$!; "
        "exec 3<&-; wait $child; kill $watcher"
    )


def require_service(deployment: Deployment, service: str | None) -> None:
    """Stop where the stack places no such service; the error lists those it does."""
    known = {name for services in deployment.placed.values() for name in services}
    if service is not None and service not in known:
        raise ConfigError(
            f"no service '{service}'", shown(deployment.stack.file), f"services: {', '.join(sorted(known))}"
        )


def parse(host: str, line: str) -> LogLine:
    """A line of `docker compose logs --timestamps`: `web-1  | 2026-11-24T10:00:00.000000000Z text`."""
    text = _TERMINAL.sub("", line).rstrip()
    found = _LINE.fullmatch(text)
    if found is None:
        return LogLine(host, "", "", text)
    return LogLine(host, found["service"], found["time"], found["text"] or "")


def by_time(kept: Mapping[str, list[LogLine]]) -> list[LogLine]:
    """All hosts' lines in the order of their times. One without a time stays behind the one it came after."""
    timed: list[tuple[str, LogLine]] = []
    for lines in kept.values():
        last = ""
        for line in lines:
            last = line.time or last
            timed.append((last, line))
    return [line for _, line in sorted(timed, key=lambda pair: pair[0])]
