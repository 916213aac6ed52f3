"""Signals reach a process that waits for its threads."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

# The main thread waits while another starts threads, as a deployment's does; it writes a byte for each signal it hears.
BUSY = """
import os, signal, threading, time
from canaryctl.cli import interrupt
from canaryctl.cli.interrupt import be_interruptible

interrupt.leave_at_once = lambda: None

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


# The main thread is where nothing reaches it: in a `finally` that goes on and on, with a child in another session.
STUCK = """
import signal, subprocess, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who runs the tests may have asked for `nohup`
from canaryctl.cli.interrupt import be_interruptible

be_interruptible()
subprocess.Popen(["sh", "-c", "trap : INT TERM; sleep 60; sleep 60"], start_new_session=True)
try:
    print("up", flush=True)
    time.sleep(60)
finally:
    print("ending", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def stuck(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], int]]:
    argv = [sys.executable, "-c", STUCK]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "up\n"
            process.send_signal(request.param)
            assert process.stdout.readline() == "ending\n"
            yield process, request.param
        finally:
            process.kill()


def test_a_second_signal_ends_the_process_at_once_with_its_children(stuck: tuple[subprocess.Popen[str], int]) -> None:
    process, sign = stuck
    time.sleep(1.5)  # well beyond the half second in which it would be the same one, on a busy machine too
    process.send_signal(sign)
    out, err = process.communicate(timeout=10)  # which waits for everybody who holds the pipes; they sleep for longer
    assert process.returncode == 130
    assert "interrupted again" in err and "Traceback" not in err and out == ""


def test_a_signal_that_comes_twice_is_one(stuck: tuple[subprocess.Popen[str], int]) -> None:
    """As `timeout -s INT` sends it: to the process and to its group."""
    process, sign = stuck
    process.send_signal(sign)
    time.sleep(0.3)
    assert process.poll() is None


def test_a_signal_while_python_ends_leaves_no_traceback() -> None:
    code = (
        "import atexit, time; from canaryctl.cli.interrupt import be_ending, be_interruptible\n"
        "be_interruptible()\natexit.register(lambda: (print('last', flush=True), time.sleep(0.5)))\nbe_ending()"
    )
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "last\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
        assert (process.returncode, err) == (0, "")


def test_who_asked_for_it_outlives_the_terminal() -> None:
    code = "import canaryctl.cli.interrupt as i, time; i.be_interruptible(); print('up', flush=True); time.sleep(1)"
    with subprocess.Popen(["nohup", sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == 0
