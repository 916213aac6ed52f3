"""A socket bridged to a channel: here the channel is the end of another socket pair."""

from __future__ import annotations

import socket
import threading

import pytest

from canaryctl.hosts.pump import bridge


class Channel:
    """A socket with a channel's names."""

    def __init__(self, end: socket.socket) -> None:
        self.end, self.recv, self.sendall = end, end.recv, end.sendall
        self.closed = threading.Event()

    def shutdown_write(self) -> None:
        self.end.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.end.close()
        self.closed.set()


@pytest.fixture
def far() -> tuple[socket.socket, socket.socket, Channel]:
    """Our end, the far side's, and the channel between."""
    theirs, end = socket.socketpair()
    channel = Channel(end)
    ours = bridge(channel)
    for link in (ours, theirs):
        link.settimeout(10)
    return ours, theirs, channel


def read_all(link: socket.socket) -> bytes:
    return b"".join(iter(lambda: link.recv(1 << 16), b""))


def test_bytes_go_both_ways(far: tuple[socket.socket, socket.socket, Channel]) -> None:
    ours, theirs, _ = far
    ours.sendall(b"ask")
    assert theirs.recv(10) == b"ask"
    theirs.sendall(b"answer")
    assert ours.recv(10) == b"answer"


def test_who_has_asked_everything_still_gets_the_answer(far: tuple[socket.socket, socket.socket, Channel]) -> None:
    ours, theirs, channel = far
    ours.sendall(b"ask")
    ours.shutdown(socket.SHUT_WR)
    assert read_all(theirs) == b"ask"
    theirs.sendall(b"x" * 10_000)
    theirs.close()
    assert len(read_all(ours)) == 10_000
    assert channel.closed.wait(10)


def test_the_channel_closes_when_nobody_reads_any_more(far: tuple[socket.socket, socket.socket, Channel]) -> None:
    ours, theirs, channel = far
    ours.close()
    assert read_all(theirs) == b""
    theirs.close()
    assert channel.closed.wait(10)
