"""paramiko's transport, mended where threads that share a channel would lose the whole connection."""

from __future__ import annotations

from typing import Any

import paramiko


class OrderlyTransport(paramiko.Transport):
    """Keeps what comes too late for a channel from the server. Message numbers are those of RFC 4254, section 9.

    paramiko makes a message under its channel's lock and sends it after letting go of that: meanwhile another thread
    may have sent the channel's close, and for a message after that sshd drops the whole connection, with all commands
    on it. Three threads work on a channel of ours (who feeds it, who reads each of its outputs), and each of paramiko's
    calls may send, reads too (window adjust). No public call comes between making and sending: a lock of our own around
    every call would be held while one waits for the far side, and keep a command from being ended. So this overrides
    a private method, `_send_message`; a paramiko without it fails tests/unit/hosts/test_transport.py.
    """

    _OF_A_CHANNEL = (93, 94, 95, 96, 98)  # window adjust, data, extended data, EOF, request
    _CLOSE = 97

    def __init__(self, *args: Any, **more: Any) -> None:
        self._done: set[int] = set()  # the server's numbers of channels that we closed and it has not opened again
        super().__init__(*args, **more)

    def open_channel(self, *args: Any, **more: Any) -> paramiko.Channel:
        channel = super().open_channel(*args, **more)
        self._done.discard(channel.remote_chanid)
        return channel

    def _send_message(self, data: paramiko.Message) -> None:
        # One thread at a time gets here with messages of channels: paramiko's clear_to_send_lock is held.
        head = bytes(data.packet.getbuffer()[:5])
        channel = int.from_bytes(head[1:], "big")
        if head[0] == self._CLOSE:
            self._done.add(channel)
        elif head[0] in self._OF_A_CHANNEL and channel in self._done:
            return
        super()._send_message(data)  # type: ignore[misc, unused-ignore]
