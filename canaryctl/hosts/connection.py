"""What every way of reaching a host offers: run commands, move bytes, dial from there."""

from __future__ import annotations

import io
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from canaryctl.config.environment import Host
from canaryctl.errors import HostError
from canaryctl.hosts.sudo import with_password

CHUNK = 1 << 18  # bytes read or written at a time
# Bytes of an answer that are kept at most, so that a host cannot fill this machine's memory.
LARGEST_ANSWER = 4 << 20
LARGEST_COMPLAINT = 8 << 20  # on standard error


@dataclass(frozen=True)
class Completed:
    """A finished remote command. `code` is -1 when a signal ended it."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def text(self) -> str:
        """Its standard output as text, undecodable bytes replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def complaint(self) -> str:
        """The end of what it said on standard error, else on standard output: at most 2000 characters."""
        output = self.stderr.strip() or self.stdout.strip()
        return output.decode("utf-8", "replace")[-2000:]


class CommandTimeout(HostError):  # noqa: N818  named like the standard library's TimeoutError
    """A remote command did not finish within its deadline; the connection itself is well."""


def is_lost(error: HostError) -> bool:
    """Whether a host cannot be talked to any more; one on which a command takes too long can."""
    return not isinstance(error, CommandTimeout)


class Connection(ABC):
    """One host, reached once and kept. Safe to use from several threads.

    Every method raises HostError when the host is lost; a command's own failure is its exit code.
    Commands are handed to the login shell as they are: quote with `shlex`. Where sudo asks for a
    password, those that need root get `sudo_password` (see `sudo.py`), unless they have a terminal: it would show it.

    Attributes:
        host: its name.
        inventory: what the inventory says of it; a jump host that stands in none has none.
    """

    host: str
    inventory: Host
    sudo_password: str = ""

    @property
    def silent_at(self) -> float | None:
        """When the host was given up since nothing was heard from it, by the monotonic clock; None where it was not."""
        return None

    def run(
        self, command: str, *, stdin: bytes = b"", timeout: float | None = 60, limit: int = LARGEST_ANSWER
    ) -> Completed:
        """Run `command`, `stdin` fed to it. Raises CommandTimeout after `timeout` seconds; `limit` as for `stream`."""
        return self.stream(command, (stdin,) if stdin else (), timeout=timeout, limit=limit)

    def stream(
        self, command: str, chunks: Iterable[bytes], *, timeout: float | None = None, limit: int = LARGEST_ANSWER
    ) -> Completed:
        """Run `command`, feeding it `chunks` as fast as it takes them. An error raised by `chunks` ends the command.

        One that answers with more than `limit` bytes is ended; that is a HostError.
        """
        plain = command
        command, chunks = with_password(command, chunks, self.sudo_password)
        received = Bounded(self.host, plain, limit)
        done = self.execute(command, chunks, received.take, timeout=timeout)
        return Completed(done.code, received.content(), done.stderr)

    def read(
        self,
        command: str,
        sink: Callable[[bytes], None],
        *,
        timeout: float | None = None,
        tty: bool = False,
        idle: float | None = None,
        chunks: Iterable[bytes] = (),
    ) -> Completed:
        """Run `command`, fed `chunks`, handing its output to `sink` as it comes; `stdout` of the result is empty.

        What `sink` raises ends the command and leaves this. It bounds what it keeps: output may never end.
        With `tty` the command dies with the connection (`docker logs -f`), and lines end in CR LF.
        """
        if not tty:
            command, chunks = with_password(command, chunks, self.sudo_password)
        return self.execute(command, chunks, sink, timeout=timeout, tty=tty, idle=idle)

    @abstractmethod
    def execute(
        self,
        command: str,
        chunks: Iterable[bytes],
        sink: Callable[[bytes], None],
        *,
        timeout: float | None,
        tty: bool = False,
        aside: Callable[[bytes], None] | None = None,
        idle: float | None = None,
    ) -> Completed:
        """The one primitive under `run`, `stream` and `read`. What `sink` or `aside` raises ends the command.

        `aside` takes what the command says on standard error as it comes; the result's `stderr` is empty then.
        Raises CommandTimeout after `timeout` seconds, and once nothing came on standard output for `idle` seconds.
        """

    @abstractmethod
    def lend_terminal(self, command: str) -> int:
        """Run `command` in this process's terminal, as `ssh -t` does; its exit code, -1 where a signal ended it."""

    @abstractmethod
    def dial(self, address: str, port: int, timeout: float = 10) -> socket.socket:
        """A socket to `address:port` as seen from the host; nothing listens on this machine.

        Raises ConnectionRefusedError, TimeoutError, PermissionError (the host forbids forwarding), or HostError.
        """

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether the next command can be expected to reach the host."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the host, ending what still runs over this connection. May be called twice."""


class Bounded:
    """Bytes of a command's output, up to `limit` of them. Raises HostError, from `take`, when more come."""

    def __init__(self, host: str, command: str, limit: int) -> None:
        self._host, self._command, self._limit = host, command, limit
        self._kept = io.BytesIO()

    def take(self, data: bytes) -> None:
        """Keep what came."""
        if self._kept.tell() + len(data) > self._limit:
            raise too_much(self._command, self._host, self._limit)
        self._kept.write(data)

    def content(self) -> bytes:
        """All that came."""
        return self._kept.getvalue()


def too_much(command: str, host: str, limit: int) -> HostError:
    """The error of a command that says more than anybody asked for; `limit` in bytes."""
    return HostError(
        f"`{shown(command)}` answers with more than {limit / (1 << 20):g} MiB, and was ended",
        host,
        "Look at what that command is on the host: something else may have taken its place.",
        reason="agent",
    )


def shown(command: str) -> str:
    """A command as errors name it: its first line, shortened."""
    first = command.strip().split("\n", 1)[0]
    return first if len(first) <= 60 else first[:57] + "..."


def lost(host: str, why: str = "") -> HostError:
    return HostError(
        "the SSH connection was lost" + (f": {why}" if why else ""),
        host,
        "Check that the host is up, then run the command again.",
    )


class Patience:
    """How long a command is waited for: `timeout` seconds in all, `idle` seconds for its next word."""

    def __init__(self, host: str, command: str, timeout: float | None, idle: float | None) -> None:
        self._host, self._command, self._timeout, self._idle = host, command, timeout, idle
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds until all of it is over, None where it may take as long as it likes; never 0, which means 'now'."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.001)

    def late(self) -> CommandTimeout:
        """What it means that it is not over by then."""
        what = f"`{shown(self._command)}` did not finish within {self._timeout:g} s"
        return CommandTimeout(what, self._host, "See what the host is busy with.")

    def for_a_word(self) -> Iterator[float | None]:
        """How long to wait, again and again until a word comes. Raises CommandTimeout where there is no time left.

        A second at a time, which are counted: a process that was stopped itself must not blame the host.
        """
        if self._idle is None:
            yield self.left()
            raise self.late()
        for _ in range(ceil(self._idle)):
            yield min(self.left() or 1.0, 1.0)
            if self._deadline is not None and time.monotonic() >= self._deadline:
                raise self.late()
        what = f"`{shown(self._command)}` said nothing for {self._idle:g} s"
        raise CommandTimeout(what, self._host, "See what the host is busy with.")
