"""This process's terminal lent to a command on a host, over a paramiko channel."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import tty
from collections.abc import Iterator

import paramiko

_STDIN, _STDOUT = 0, 1
_CHUNK = 1 << 14


def lend(channel: paramiko.Channel, command: str) -> int:
    """Run `command` in a terminal like this one until it ends; its exit code, -1 where a signal ended it.

    Every key goes there, Ctrl-C too, and so does a change of the window's size. Call it from the main thread.

    Raises:
        OSError, paramiko.SSHException: the connection was lost, or the host allows no terminal.
    """
    columns, lines = os.get_terminal_size(_STDIN)
    channel.get_pty(term=os.environ.get("TERM") or "xterm", width=columns, height=lines)
    channel.exec_command(command)
    with _raw(), _following(channel):
        _pass_on(channel)
    return channel.recv_exit_status()


def _pass_on(channel: paramiko.Channel) -> None:
    sources: list[paramiko.Channel | int] = [channel, _STDIN]
    while True:
        ready = select.select(sources, [], [])[0]
        if channel in ready:
            output = channel.recv(_CHUNK)
            if not output:
                return
            while output:
                output = output[os.write(_STDOUT, output) :]
        if _STDIN in ready:
            typed = os.read(_STDIN, _CHUNK)
            if typed:
                channel.sendall(typed)
            else:  # the terminal went away
                sources.remove(_STDIN)
                channel.shutdown_write()


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(_STDIN)
    tty.setraw(_STDIN)
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _following(channel: paramiko.Channel) -> Iterator[None]:
    """Tell the far terminal of each new size of this one."""

    def resized(*_: object) -> None:
        columns, lines = os.get_terminal_size(_STDIN)
        with contextlib.suppress(OSError, paramiko.SSHException):
            channel.resize_pty(width=columns, height=lines)

    before = signal.signal(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
