"""What paramiko sends of a channel after its close is kept from the server."""

from __future__ import annotations

import socket
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
