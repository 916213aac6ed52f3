"""Private directories that outlive no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from canaryctl.hosts.scratch import make_scratch, mark_of, remove_scratch, scratch

HOLDER = (
    "import sys, time; from canaryctl.hosts.scratch import make_scratch; "
    "print(make_scratch(sys.argv[1]), flush=True); time.sleep(60)"
)


def holding(folder: Path, *, guarded: bool) -> tuple[subprocess.Popen[str], Path]:
    """A process that has made a directory; without a shell at hand it has no guard, as one whose guard was killed."""
    env = {**os.environ, **({} if guarded else {"PATH": "/nowhere"})}
    argv = [sys.executable, "-c", HOLDER, str(folder)]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)
    assert holder.stdout
    return holder, Path(holder.stdout.readline().strip())


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_lives_stays(tmp_path: Path) -> None:
    holder, theirs = holding(tmp_path, guarded=False)
    (theirs / "secrets.env").write_text("A=b")
    other = tmp_path / "canaryctl-of-somebody"
    other.mkdir()
    mine = make_scratch(str(tmp_path))
    assert theirs.is_dir() and mine.stat().st_mode & 0o777 == 0o700
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    second = make_scratch(str(tmp_path))
    assert not theirs.exists() and mine.is_dir() and other.is_dir()
    remove_scratch(mine)
    remove_scratch(second)
    remove_scratch(second)
    assert list(tmp_path.iterdir()) == [other]


WORKS = "trap '' TERM; echo up; exec sleep 60"
STARTER = (
    "import os, subprocess, sys, time; from canaryctl.hosts.scratch import abandon, make_scratch, mark_of; "
    "made = make_scratch(sys.argv[1]); one = {'stdout': 1, 'start_new_session': True}; "
    "subprocess.Popen(['sh', '-c', 'sleep 60 & wait'], **one); "
    "subprocess.Popen(['sh', '-c', 'setsid sleep 60 >/dev/null &'], env={**os.environ, **mark_of(made)}); "
    "time.sleep(0.3); print(made, flush=True); sys.stdin.readline(); abandon(); print('done', flush=True); os._exit(0)"
)


def working_with(path: Path) -> subprocess.Popen[str]:
    """A process that does not want to end, in a session of its own."""
    child = subprocess.Popen(
        ["sh", "-c", WORKS],
        env={**os.environ, **mark_of(path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout and child.stdout.readline() == "up\n"
    return child


def test_what_works_with_a_directory_ends_with_it(tmp_path: Path) -> None:
    mine, other = make_scratch(str(tmp_path)), make_scratch(str(tmp_path))
    ends, stays = working_with(mine), working_with(other)
    remove_scratch(mine)
    assert ends.wait(5) == -signal.SIGKILL and stays.poll() is None
    remove_scratch(other)
    assert stays.wait(5) == -signal.SIGKILL


def test_what_a_killed_process_had_started_is_ended_by_the_next(tmp_path: Path) -> None:
    holder, theirs = holding(tmp_path, guarded=False)
    orphan = working_with(theirs)
    holder.kill()
    holder.wait()
    remove_scratch(make_scratch(str(tmp_path)))
    assert orphan.wait(5) == -signal.SIGKILL


def test_a_killed_process_leaves_nothing_whatever_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its whole group is killed, as by a shell or a service manager: what clears away is not in it."""
    other = make_scratch(str(tmp_path))
    (before,) = one_more_guard(tmp_path, 1)
    monkeypatch.setenv("MY_PASSWORD", "given to canaryctl alone")
    holder, theirs = holding(tmp_path, guarded=True)
    (guard,) = set(one_more_guard(tmp_path, 2)) - {before}
    assert b"PASSWORD" not in Path(f"/proc/{guard}/environ").read_bytes()
    orphan, stays = working_with(theirs), working_with(other)
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    assert orphan.wait(5) == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while theirs.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not theirs.exists() and other.is_dir() and stays.poll() is None
    remove_scratch(other)
    assert stays.wait(5) == -signal.SIGKILL
    while guards(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert guards(tmp_path) == []


def one_more_guard(folder: Path, count: int) -> list[str]:
    """The guards that work in a folder, once there are so many: each becomes its shell a moment after its start."""
    deadline = time.monotonic() + 10
    while len(found := guards(folder)) != count and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def guards(folder: Path) -> list[str]:
    def words(pid: Path) -> bytes:
        try:
            return (pid / "cmdline").read_bytes()
        except OSError:
            return b""

    told = f"\0{folder}\0".encode()
    found = {pid.name: words(pid) for pid in Path("/proc").glob("[0-9]*")}
    return [name for name, line in found.items() if told in line and b"/scratch.py\0" in line]


def test_who_leaves_at_once_leaves_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", STARTER, str(tmp_path)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stdin and child.stdout
    made = Path(child.stdout.readline().strip())
    assert made.is_dir()
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.read() == "done\n"  # no process holds the pipe any more
    assert child.wait(5) == 0 and not made.exists()
    time.sleep(0.1)
    marked = f"{made}".encode()
    left = [entry for entry in Path("/proc").glob("[0-9]*/environ") if _has(entry, marked)]
    assert left == []


def _has(entry: Path, mark: bytes) -> bool:
    try:
        return mark in entry.read_bytes()
    except OSError:
        return False


def test_a_directory_for_a_moment_is_gone_afterwards(tmp_path: Path) -> None:
    with scratch() as made:
        assert made.stat().st_mode & 0o777 == 0o700
    assert not made.exists()
