"""This process's terminal, here a pty, lent to a channel, here the end of a socket pair."""

from __future__ import annotations

import os
import pty
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from canaryctl.hosts import terminal


class Channel:
    """A channel whose far side is `far`."""

    def __init__(self) -> None:
        self.far, self.end = socket.socketpair()
        self.fileno, self.recv, self.sendall = self.end.fileno, self.end.recv, self.end.sendall
        self.done: list[Any] = []

    def get_pty(self, term: str, width: int, height: int) -> None:
        self.done.append((width, height))

    def resize_pty(self, width: int, height: int) -> None:
        self.done.append((width, height))

    def exec_command(self, command: str) -> None:
        self.done.append(command)

    def shutdown_write(self) -> None:
        self.end.shutdown(socket.SHUT_WR)

    def recv_exit_status(self) -> int:
        return 7


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of the terminal that is lent: what is written there are keys."""
    ours, lent = pty.openpty()
    termios.tcsetwinsize(lent, (24, 80))
    monkeypatch.setattr(terminal, "_STDIN", lent)
    monkeypatch.setattr(terminal, "_STDOUT", lent)
    yield ours
    os.close(ours)
    os.close(lent)


def test_keys_go_there_and_output_comes_back(screen: int) -> None:
    channel = Channel()
    before = termios.tcgetattr(terminal._STDIN)

    def far() -> None:
        channel.far.sendall(b"ready\n")
        assert os.read(screen, 100) == b"ready\n"  # raw: no CR
        os.write(screen, b"\x03")
        assert channel.far.recv(10) == b"\x03"  # Ctrl-C is a key there and no signal here
        channel.far.close()

    beside = threading.Thread(target=far)
    beside.start()
    assert terminal.lend(channel, "top") == 7  # type: ignore[arg-type]
    beside.join()
    assert channel.done == [(80, 24), "top"]
    assert termios.tcgetattr(terminal._STDIN) == before


def test_the_far_terminal_follows_this_ones_size(screen: int) -> None:
    channel = Channel()
    before = signal.getsignal(signal.SIGWINCH)
    with terminal._following(channel):  # type: ignore[arg-type]
        termios.tcsetwinsize(terminal._STDIN, (50, 132))
        os.kill(os.getpid(), signal.SIGWINCH)
    assert channel.done == [(132, 50)] and signal.getsignal(signal.SIGWINCH) == before
