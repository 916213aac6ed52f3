"""Ctrl-C, SIGTERM, a terminal that is gone: heard whatever the process is busy with, obeyed at once the second time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import NoReturn

_AGAIN = (0.0, 0.1, 0.4)  # seconds: one that arrives just before the main thread begins to wait goes unnoticed
# Seconds in which a second signal is the same one: `timeout`, `make` and shells send it to a process and to its group.
_TWICE = 0.5
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ended = threading.Event()


def be_interruptible() -> None:
    """From now on the first SIGINT, SIGTERM or SIGHUP raises KeyboardInterrupt in the main thread; the next ends us.

    To be called from there, once. The kernel may hand a process's signal to any of its threads: one that is starting
    another takes it now and then from a main thread that waits for them all. Python notes it, but runs handlers in the
    main thread alone, which then waits on. So each of these signals is followed by a wake-up call to the main thread
    itself. The second is not left to the main thread at all, which may be where nothing reaches it.
    """
    raised = threading.Event()

    def interrupt(*_: object) -> None:
        """A polite kill is an interruption: the run is recorded and nothing is left behind. That is not cut short."""
        if not (raised.is_set() or _ended.is_set()):
            raised.set()
            raise KeyboardInterrupt

    for sign in _STOPS:  # a shell starts background jobs with SIGINT ignored; whoever sends one means it all the same
        if sign != signal.SIGHUP or signal.getsignal(sign) != signal.SIG_IGN:  # which `nohup` asks for
            signal.signal(sign, interrupt)
    signal.signal(signal.SIGURG, lambda *_: None)
    bell, pull = os.pipe()
    os.set_blocking(pull, False)
    signal.set_wakeup_fd(pull, warn_on_full_buffer=False)
    threading.Thread(target=_wake, args=(bell, threading.get_ident()), name="interrupts", daemon=True).start()


def be_ending() -> None:
    """Nothing is left to interrupt: from now on one signal changes nothing, and a second ends the process as ever."""
    _ended.set()


def _wake(bell: int, main: int) -> None:
    """Each byte is the number of a signal that came; the calls themselves come by here too."""
    first: float | None = None
    while numbers := os.read(bell, 64):
        if not any(sign in numbers for sign in _STOPS):
            continue
        first = first or time.monotonic()
        if time.monotonic() - first > _TWICE:
            leave_at_once()
        for pause in _AGAIN:
            time.sleep(pause)
            signal.pthread_kill(main, signal.SIGURG)


def leave_at_once() -> NoReturn:
    """End this process and all that it started, without another word of Python's.

    What is left of its record and on hosts is what a killed process leaves: the next command completes and clears it.
    """
    try:
        show_cursor = b"\x1b[?25h" if os.isatty(1) else b""
        words = b"interrupted again: ended at once; the next command completes the record and clears what is left\n"
        for number, text in ((1, show_cursor), (2, b"\n" + words)):
            with contextlib.suppress(OSError):
                os.write(number, text)
        from canaryctl.commands.abandon import abandon

        abandon()
    finally:
        os._exit(130)
