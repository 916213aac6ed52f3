"""Ending a process with all that it started, on this machine's own processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from canaryctl.agent.read.processes import Program, end_group, find_program

# A child that has a child of its own in its group, both deaf to being asked where the trap says so.
FAMILY = "{trap} sleep 60 & echo $!; wait; wait"


def started(trap: str = "") -> tuple[subprocess.Popen[bytes], int]:
    child = subprocess.Popen(
        ["sh", "-c", FAMILY.format(trap=trap)], stdout=subprocess.PIPE, start_new_session=True, bufsize=0
    )
    assert child.stdout is not None
    with child.stdout:
        return child, int(child.stdout.readline())


def is_gone(pid: int) -> bool:
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("trap", "grace", "sign"),
    [("", 5.0, signal.SIGTERM), ("trap '' TERM;", 0.1, signal.SIGKILL), ("", 0, signal.SIGKILL)],
)
def test_the_whole_group_ends_asked_first_where_there_is_time(trap: str, grace: float, sign: int) -> None:
    child, grandchild = started(trap)
    end_group(child, grace=grace)
    assert child.returncode == -sign and is_gone(grandchild)


def test_what_outlives_its_parent_in_the_group_ends_too() -> None:
    child = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    with child.stdout:
        left = int(child.stdout.readline())
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # has ended, and is not reaped: its number is its own
    end_group(child)
    assert child.returncode == 0 and is_gone(left)


def test_a_number_that_may_be_anothers_gets_no_signal() -> None:
    child = subprocess.Popen(["true"], start_new_session=True)
    child.wait()
    child.pid = os.getpid()
    end_group(child)


def test_a_late_program_says_so_and_is_ended() -> None:
    program = Program("sleep", "60")
    assert program.finish(0.1) == (None, "") and "sleep" in program.late
    assert is_gone(program.child.pid)
    with pytest.raises(OSError, match="false"):
        Program("false").answer(5)
    assert Program("echo", "yes").answer(5) == "yes"


def test_programs_are_found_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "tool").touch(mode=0o755)
    (tmp_path / "text").touch(mode=0o644)
    assert find_program("tool", str(tmp_path)) == str(tmp_path / "tool")
    assert find_program("folder", str(tmp_path)) == find_program("text", str(tmp_path)) == ""
