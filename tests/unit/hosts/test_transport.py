"""What paramiko sends of a channel after its close is kept from the server; and a silent server is given up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import paramiko
import pytest

from canaryctl.hosts.transport import OrderlyTransport

CLOSE, DATA, ADJUST, IGNORE = 97, 94, 93, 2


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What got through; the method is paramiko's own, and it must be there."""
    through: list[bytes] = []
    assert callable(paramiko.Transport._send_message)  # type: ignore[attr-defined]
    monkeypatch.setattr(paramiko.Transport, "_send_message", lambda self, message: through.append(message.asbytes()))
    return through


@pytest.fixture
def transport(sent: list[bytes]) -> Iterator[OrderlyTransport]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield OrderlyTransport(ours)


def message(number: int, channel: int) -> paramiko.Message:
    made = paramiko.Message()
    made.add_byte(bytes([number]))
    made.add_int(channel)
    return made


def test_nothing_of_a_channel_follows_its_close(transport: OrderlyTransport, sent: list[bytes]) -> None:
    for number, channel in ((DATA, 1), (CLOSE, 1), (DATA, 1), (ADJUST, 1), (DATA, 2), (IGNORE, 1)):
        transport._send_message(message(number, channel))
    assert [(one[0], one[4]) for one in sent] == [(DATA, 1), (CLOSE, 1), (DATA, 2), (IGNORE, 1)]


def test_a_number_that_is_used_again_is_another_channels(
    transport: OrderlyTransport, sent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport._send_message(message(CLOSE, 1))
    opened = paramiko.Channel(0)
    opened.remote_chanid = 1
    monkeypatch.setattr(paramiko.Transport, "open_channel", lambda self, *args, **more: opened)
    assert transport.open_channel("session") is opened
    transport._send_message(message(DATA, 1))
    assert [one[0] for one in sent] == [CLOSE, DATA]


@pytest.fixture
def link() -> Iterator[tuple[OrderlyTransport, threading.Event]]:
    """A connection to paramiko's own server, and what makes the way back from it silent without closing anything."""
    silent = threading.Event()
    ours, near = socket.socketpair()
    far, theirs = socket.socketpair()

    def carry(source: socket.socket, sink: socket.socket, held: threading.Event | None) -> None:
        try:
            while data := source.recv(65536):
                while held is not None and held.is_set():
                    time.sleep(0.05)
                sink.sendall(data)
        except OSError:
            return

    for way in ((near, far, None), (far, near, silent)):
        threading.Thread(target=carry, args=way, daemon=True).start()
    server = paramiko.Transport(theirs)
    server.add_server_key(paramiko.ECDSAKey.generate())
    server.start_server(threading.Event(), paramiko.ServerInterface())
    client = OrderlyTransport(ours)
    try:
        client.start_client(timeout=10)
        yield client, silent
    finally:
        silent.clear()
        client.close()
        server.close()
        for end in (ours, near, far, theirs):
            end.close()


def test_an_idle_connection_stays_while_the_server_answers(link: tuple[OrderlyTransport, threading.Event]) -> None:
    client, _ = link
    client.end_when_silent(0.1, 50)  # so late that a machine which is busy with other tests answers in time
    time.sleep(6)  # longer than it would stay without answers
    assert client.is_active() and client.silence == ""


def test_a_silent_server_is_given_up_and_why_is_known(link: tuple[OrderlyTransport, threading.Event]) -> None:
    """As where packets are dropped, or the host is frozen: TCP alone would wait for ever."""
    client, silent = link
    client.end_when_silent(0.1, 2)
    silent.set()
    client.join(5)
    assert not client.is_active() and client.silence == "nothing was heard from it for 0.3 s"
