"""Commands that are processes of this machine, and how long they are waited for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from canaryctl.hosts import CommandTimeout, LocalConnection


def test_a_command_that_says_nothing_any_more_is_not_waited_for() -> None:
    said: list[bytes] = []
    began = time.monotonic()
    with pytest.raises(CommandTimeout, match="said nothing for 2 s"):
        LocalConnection("here").read("echo one; sleep 0.5; echo two; exec sleep 60", said.append, idle=2)
    assert b"".join(said) == b"one\ntwo\n" and 2 < time.monotonic() - began < 10


def test_each_word_begins_the_wait_anew_and_the_deadline_stands() -> None:
    here, ignore = LocalConnection("here"), lambda _: None
    assert here.read("for n in 1 2 3 4 5 6; do sleep 0.4; echo; done; exit 3", ignore, idle=1).code == 3
    with pytest.raises(CommandTimeout, match="did not finish within 2 s"):
        here.read("while sleep 0.2; do echo; done", ignore, idle=1, timeout=2)


WAITS = """
from canaryctl.hosts import LocalConnection
print(LocalConnection("here").read("echo begun; sleep 4; echo done", lambda data: print(data, flush=True), idle=3).code)
"""


def test_who_was_stopped_itself_blames_nobody() -> None:
    """What it waits for had said nothing for longer when it could listen again."""
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout and "begun" in waiting.stdout.readline()
        waiting.send_signal(signal.SIGSTOP)
        time.sleep(3.5)
        waiting.send_signal(signal.SIGCONT)
        assert waiting.stdout.read().split() == ["b'done\\n'", "0"]
