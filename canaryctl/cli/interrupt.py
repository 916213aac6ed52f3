"""Ctrl-C and SIGTERM: heard at once whatever the process is busy with."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import NoReturn

_AGAIN = (0.0, 0.1, 0.4)  # seconds: one that arrives just before the main thread begins to wait goes unnoticed


def be_interruptible() -> None:
    """From now on SIGINT and SIGTERM raise KeyboardInterrupt in the main thread. To be called from there, once.

    The kernel may hand a process's signal to any of its threads: one that is starting another takes it now and then
    from a main thread that waits for them all. Python notes it, but runs handlers in the main thread alone, which then
    waits on. So each of these signals is followed by a wake-up call to the main thread itself.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell starts background jobs with SIGINT ignored; whoever sends one means it all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGURG, lambda *_: None)
    bell, pull = os.pipe()
    os.set_blocking(pull, False)
    signal.set_wakeup_fd(pull, warn_on_full_buffer=False)
    threading.Thread(target=_wake, args=(bell, threading.get_ident()), name="interrupts", daemon=True).start()


def _interrupt(*_: object) -> NoReturn:
    """A polite kill is an interruption: the run is recorded and nothing is left behind."""
    raise KeyboardInterrupt


def _wake(bell: int, main: int) -> None:
    """Each byte is the number of a signal that came; the calls themselves come by here too."""
    while numbers := os.read(bell, 64):
        if signal.SIGINT in numbers or signal.SIGTERM in numbers:
            for pause in _AGAIN:
                time.sleep(pause)
                signal.pthread_kill(main, signal.SIGURG)
