"""Signals reach a process that waits for its threads."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

import pytest

# The main thread waits while another starts threads, as a deployment's does; it writes a byte for each signal it hears.
BUSY = """
import os, signal, threading, time
from canaryctl.cli.interrupt import be_interruptible

def spawn():
    while True:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        time.sleep(0.01)

be_interruptible()
for sign in (signal.SIGINT, signal.SIGTERM):
    signal.signal(sign, lambda *_: os.write(1, b"."))
threading.Thread(target=spawn, daemon=True).start()
done = threading.Lock()
done.acquire()
os.write(1, b".")
done.acquire()
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_no_interruption_is_lost_while_threads_start(sign: signal.Signals) -> None:
    """Without a wake-up call for the main thread one in about a hundred was."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout
        answers = process.stdout.fileno()
        try:
            assert os.read(answers, 1) == b"."
            for sent in range(600):
                time.sleep(0.001)
                process.send_signal(sign)
                heard, _, _ = select.select([answers], [], [], 10)
                assert heard, f"number {sent} went unnoticed"
                assert os.read(answers, 1) == b"."
        finally:
            process.kill()


def test_a_wake_up_call_alone_interrupts_nothing() -> None:
    code = "import time, canaryctl.cli.interrupt as i; i.be_interruptible(); print(flush=True); time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        process.send_signal(signal.SIGURG)
        assert process.wait(timeout=20) == 0
