"""What watches a program on a host: it says that it lives, and ends where nothing gets further or nobody listens."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from typing import Any

import pytest

from canaryctl.agent.read.docker import DockerError
from canaryctl.agent.write import pulse
from canaryctl.agent.write.pulse import Pulse, Turns
from canaryctl.hosts.ask import bundle

PROGRAM = (
    bundle("pull")
    + """
PULSE_EVERY = 0.1
watch = Pulse(lambda: None)
watch.begin()
"""
)


def running(work: str) -> subprocess.Popen[bytes]:
    """A program as hosts run it, quicker of pulse."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM + work], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_it_is_heard_while_the_program_works_or_listens() -> None:
    with running("sys.stdin.readline(); time.sleep(0.5); say_line('{}')") as child:
        assert child.stdin and child.stdout
        assert [child.stdout.readline() for _ in range(3)] == [b"\n"] * 3
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.read().endswith(b"\n{}\n") and child.wait(5) == 0


def test_what_gets_no_further_is_told_and_ends_the_program_whatever_its_threads_wait_for() -> None:
    with running("watch.doing('the disk', 0.5); time.sleep(60)") as child:
        assert child.stdout
        last = child.stdout.read().splitlines()[-1]
        assert json.loads(last) == {"error": "the disk got no further for 0 s"} and child.wait(5) == 1


def test_who_hung_up_ends_the_program_however_busy_it_is() -> None:
    child = running("time.sleep(60)")
    assert child.stdin and child.stdout
    child.stdout.close()
    assert child.wait(5) == 1
    child.stdin.close()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr(pulse.time, "monotonic", lambda: clock[0])
    return clock


def test_each_step_begins_the_wait_anew_and_the_other_ends_turn_has_none(now: list[float]) -> None:
    watch = Pulse(lambda: None)
    watch.doing("the disk", 300)
    for _ in range(3):
        now[0] += 299
        assert watch.fault() == ""
        watch.step()
    now[0] += 301
    assert watch.fault() == "the disk got no further for 300 s"
    watch.rest()
    assert watch.fault() == ""
    now[0] += 9999
    watch.doing("the disk", 300)
    assert watch.fault() == ""


@pytest.mark.parametrize("error", [TimeoutError("timed out"), DockerError("Docker answered 500 to /_ping")])
def test_a_docker_that_unpacks_for_long_is_waited_for_while_it_answers(now: list[float], error: Exception) -> None:
    answers = True

    def ping() -> None:
        if not answers:
            raise error

    watch = Pulse(ping)
    watch.doing("its unpacking", 1800, docker=True)
    for _ in range(20):
        now[0] += 80
        assert watch.fault() == ""
    answers = False
    now[0] += 44
    assert watch.fault() == ""
    now[0] += 2
    assert "Docker has not answered for 45 s" in watch.fault()
    watch.doing("the disk", 300)  # is not Docker's
    assert watch.fault() == ""


def test_reading_is_the_other_ends_turn(now: list[float]) -> None:
    watch = Pulse(lambda: None)
    seen: list[Any] = []

    class Source(io.BytesIO):
        def readline(self, *_: Any) -> bytes:
            seen.append(watch.work)
            return super().readline()

        def read1(self, *size: Any) -> bytes:
            seen.append(watch.work)
            return super().read1(*size)

    source = Turns(Source(b"one\ntwo"), watch, "the disk", 300)
    assert (source.readline(), source.read1(2)) == (b"one\n", b"tw")
    assert seen == [None, None] and watch.work == ("the disk", 300, False)
    assert time.monotonic() == now[0]
