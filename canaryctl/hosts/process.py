"""Connections whose commands are local processes: this machine itself, or OpenSSH's client."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable

from canaryctl.agent.read.processes import end_group
from canaryctl.hosts.connection import CHUNK, LARGEST_COMPLAINT, Bounded, Completed, Connection, Patience


class ProcessConnection(Connection):
    """Runs each command as a process in a session of its own, so that Ctrl-C reaches it only through us."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._running: set[subprocess.Popen[bytes]] = set()

    @abstractmethod
    def _argv(self, command: str, tty: bool) -> list[str]:
        """The process that runs `command` on the host."""

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
        patience = Patience(self.host, command, timeout, idle)
        child = subprocess.Popen(
            self._argv(command, tty),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._running.add(child)
        complaints = Bounded(self.host, command, LARGEST_COMPLAINT)
        trouble: list[BaseException] = []
        listener = threading.Thread(target=_drain, args=(child, aside or complaints.take, trouble), daemon=True)
        try:
            listener.start()
            threading.Thread(target=_feed, args=(child, chunks, trouble), daemon=True).start()
            while data := _next(child, patience):
                sink(data)
            listener.join(patience.left())
            try:
                code = child.wait(patience.left())
            except subprocess.TimeoutExpired:
                raise patience.late() from None
        finally:
            end_group(child)
            if child.stdout is not None:
                child.stdout.close()
            self._running.discard(child)
        if trouble:
            raise trouble[0]
        return Completed(code if code >= 0 else -1, b"", complaints.content())

    def lend_terminal(self, command: str) -> int:
        return max(subprocess.call(self._argv(command, tty=True)), -1)

    def close(self) -> None:
        for child in list(self._running):
            end_group(child)


class LocalConnection(ProcessConnection):
    """This machine, for hosts with `ansible_connection: local`."""

    def _argv(self, command: str, tty: bool) -> list[str]:
        return ["sh", "-c", command]

    @property
    def alive(self) -> bool:
        return True

    def dial(self, address: str, port: int, timeout: float = 10) -> socket.socket:
        link = socket.create_connection((address, port), timeout)
        link.settimeout(None)
        return link


def _next(child: subprocess.Popen[bytes], patience: Patience) -> bytes:
    """What it says next: not to be waited for until its pipe's end, which OpenSSH's master keeps of a client we end."""
    assert child.stdout is not None  # noqa: S101  asked for in execute
    for seconds in patience.for_a_word():
        if select.select([child.stdout], [], [], seconds)[0]:
            return os.read(child.stdout.fileno(), CHUNK)
    raise patience.late()


def _feed(child: subprocess.Popen[bytes], chunks: Iterable[bytes], trouble: list[BaseException]) -> None:
    assert child.stdin is not None  # noqa: S101  asked for in execute
    with child.stdin as pipe:
        try:
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    try:
                        view = view[os.write(pipe.fileno(), view) :]
                    except OSError:
                        return  # the command stopped reading: its exit code and words say why
        except BaseException as error:  # of the chunks: it belongs to whoever gave them
            trouble.append(error)
            end_group(child)


def _drain(child: subprocess.Popen[bytes], into: Callable[[bytes], None], trouble: list[BaseException]) -> None:
    assert child.stderr is not None  # noqa: S101  asked for in execute
    with child.stderr as pipe:
        try:
            while data := os.read(pipe.fileno(), CHUNK):
                into(data)
        except BaseException as error:  # of who takes it, or more than is taken
            trouble.append(error)
            end_group(child)
