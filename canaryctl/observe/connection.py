"""What every way of reaching a host offers: run commands, move bytes, dial from there."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from canaryctl.errors import HostError
from canaryctl.observe.sudo import with_password

CHUNK = 1 << 18  # bytes read or written at a time


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
        said = self.stderr.strip() or self.stdout.strip()
        return said.decode("utf-8", "replace")[-2000:]


class CommandTimeout(HostError):  # noqa: N818  named like the standard library's TimeoutError
    """A remote command did not finish within its deadline; the connection itself is well."""


class Connection(ABC):
    """One host, reached once and kept. Safe to use from several threads.

    Every method raises HostError when the host is lost; a command's own failure is its exit code.
    Commands are handed to the login shell as they are: quote with `shlex`. Where sudo asks for a
    password, those that need root get `sudo_password` (see `sudo.py`), unless they have a terminal: it would show it.
    """

    host: str
    sudo_password: str = ""

    def run(self, command: str, *, stdin: bytes = b"", timeout: float | None = 60) -> Completed:
        """Run `command`, `stdin` fed to it. Raises CommandTimeout after `timeout` seconds."""
        return self.stream(command, (stdin,) if stdin else (), timeout=timeout)

    def stream(self, command: str, chunks: Iterable[bytes], *, timeout: float | None = None) -> Completed:
        """Run `command`, feeding it `chunks` as fast as it takes them. An error raised by `chunks` ends the command."""
        received: list[bytes] = []
        command, chunks = with_password(command, chunks, self.sudo_password)
        done = self.execute(command, chunks, received.append, timeout=timeout)
        return Completed(done.code, b"".join(received), done.stderr)

    def read(
        self, command: str, sink: Callable[[bytes], None], *, timeout: float | None = None, tty: bool = False
    ) -> Completed:
        """Run `command`, handing its output to `sink` as it comes; `stdout` of the result is empty.

        With `tty` the command dies with the connection (`docker logs -f`), and lines end in CR LF.
        """
        chunks: Iterable[bytes] = ()
        if not tty:
            command, chunks = with_password(command, chunks, self.sudo_password)
        return self.execute(command, chunks, sink, timeout=timeout, tty=tty)

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
    ) -> Completed:
        """The one primitive under `run`, `stream` and `read`.

        `aside` takes what the command says on standard error as it comes; the result's `stderr` is empty then.
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


def shown(command: str) -> str:
    """A command as errors name it: its first line, shortened."""
    first = command.strip().split("\n", 1)[0]
    return first if len(first) <= 60 else first[:57] + "..."


def late(command: str, host: str, timeout: float | None) -> CommandTimeout:
    return CommandTimeout(
        f"`{shown(command)}` did not finish within {timeout:g} s", host, "See what the host is busy with."
    )


def lost(host: str, why: str = "") -> HostError:
    return HostError(
        "the SSH connection was lost" + (f": {why}" if why else ""),
        host,
        "Check that the host is up, then run the command again.",
    )


def left(deadline: float | None) -> float | None:
    """Seconds until `deadline` (monotonic); never 0, which sockets take for 'do not block'."""
    return None if deadline is None else max(deadline - time.monotonic(), 0.001)
