"""paramiko's transport, mended: threads that share a channel lose no connection, and none waits for a silent host."""

from __future__ import annotations

import contextlib
import threading
import time
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
    _GLOBAL_REQUEST = 80

    def __init__(self, *args: Any, **more: Any) -> None:
        self._done: set[int] = set()  # the server's numbers of channels that we closed and it has not opened again
        self._heard = threading.Event()
        self.silence = ""
        self.silent_at: float | None = None  # when it was given up for that, by the monotonic clock
        super().__init__(*args, **more)
        read = self.packetizer.read_message

        def heard() -> Any:
            message = read()
            self._heard.set()
            return message

        self.packetizer.read_message = heard  # type: ignore[method-assign, unused-ignore]

    def end_when_silent(self, every: float, unanswered: int) -> None:
        """From now on ask the server every `every` seconds whether it is there, where nothing else was heard from it.

        After so many questions without an answer the connection is closed, and `silence` says why. TCP alone does not
        notice a frozen host, whose kernel goes on to acknowledge, nor one behind a jump host; paramiko's own keepalives
        want no answer. Questions are counted, not seconds: a process that was stopped itself must not blame the host.
        """
        threading.Thread(target=self._listen, args=(every, unanswered), name="silence", daemon=True).start()

    def _listen(self, every: float, unanswered: int) -> None:
        asked, asking = 0, threading.Thread()
        while self.is_active():
            self._heard.clear()
            for _ in range(max(round(every), 1)):  # a closed connection needs no watch, and its thread should go soon
                time.sleep(min(every, 1.0))
                if not self.is_active():
                    return
            if self._heard.is_set():
                asked = 0
            elif asked < unanswered:
                asked += 1
                if not asking.is_alive():  # a full link holds up who writes
                    asking = threading.Thread(target=self._ask, name="keepalive", daemon=True)
                    asking.start()
            else:
                self.silence = f"nothing was heard from it for {(unanswered + 1) * every:g} s"
                self.silent_at = time.monotonic()
                self.close()

    def _ask(self) -> None:
        question = paramiko.Message()
        question.add_byte(bytes([self._GLOBAL_REQUEST]))
        question.add_string("keepalive@openssh.com")
        question.add_boolean(True)  # wants an answer; that the server knows no such request is one
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._send_user_message(question)  # type: ignore[attr-defined, unused-ignore]

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
