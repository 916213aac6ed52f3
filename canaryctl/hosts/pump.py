"""A real socket whose other end is an SSH channel."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Protocol

from canaryctl.hosts.connection import CHUNK


class ByteChannel(Protocol):
    """What a paramiko channel offers that we use."""

    def recv(self, nbytes: int) -> bytes: ...
    def sendall(self, s: bytes) -> None: ...
    def shutdown_write(self) -> None: ...
    def close(self) -> None: ...


def bridge(channel: ByteChannel) -> socket.socket:
    """One end of a socket pair; two threads carry bytes between the other end and `channel` until both are done."""
    ours, theirs = socket.socketpair()
    inward = threading.Thread(target=_inward, args=(channel, theirs), daemon=True)
    outward = threading.Thread(target=_outward, args=(theirs, channel, inward), daemon=True)
    inward.start()
    outward.start()
    return ours


def _inward(channel: ByteChannel, end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := channel.recv(CHUNK):
            end.sendall(data)
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_WR)


def _outward(end: socket.socket, channel: ByteChannel, inward: threading.Thread) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := end.recv(CHUNK):
            channel.sendall(data)
        channel.shutdown_write()
        _until_closed(end, inward)
    with contextlib.suppress(OSError, EOFError):
        channel.close()
    inward.join()
    end.close()


def _until_closed(end: socket.socket, inward: threading.Thread) -> None:
    """Our side sends no more, but the far side may still answer: wait until that ends, or nobody is left to read it."""
    poll = select.poll()
    poll.register(end, 0)  # POLLHUP, reported always, means closed rather than half-closed
    while inward.is_alive() and not poll.poll(100):
        pass
