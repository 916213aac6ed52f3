"""Faults come and go whatever becomes of who asked for them; what makes them is real, and here a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from canaryctl.errors import ConfigError, HostError
from canaryctl.lab import faults, state
from canaryctl.lab.faults import FAULTS, Fault, keeper
from canaryctl.lab.state import Lab, LabHost

LAB = Lab("t", "10.87.3.0/24", {"a": LabHost("10.87.3.10", 22200, "no-such-container")})
INSIDE = Path(keeper.__file__).with_name("inside")


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there as long as the fault `touched` is."""
    file = tmp_path / "mark"
    made = Fault("touched", "a file is there", f"touch {file}", f"rm {file}", "here")
    monkeypatch.setitem(FAULTS, "touched", made)
    return file


def test_it_is_there_and_then_undone_by_itself(mark: Path) -> None:
    running = faults.begin(LAB, "touched", "a", 0.3)
    assert mark.exists()
    running.wait()
    assert not mark.exists() and time.monotonic() - running.began > 0.3


def test_it_is_undone_at_once(mark: Path) -> None:
    running = faults.begin(LAB, "touched", "a", 60)
    began = time.monotonic()
    running.end()
    assert not mark.exists() and time.monotonic() - began < 5


def test_one_at_a_time(mark: Path) -> None:
    running = faults.begin(LAB, "touched", "a", 60)
    with pytest.raises(ConfigError, match="already") as caught:
        faults.begin(LAB, "touched", "a", 60)
    assert caught.value.where == "a"
    running.end()
    faults.begin(LAB, "touched", "a", 0.1).wait()


def test_one_that_would_undo_another_waits_for_its_end(mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for disk-full and inodes-gone: what is refused is undone, and the other one would be with it."""
    monkeypatch.setitem(FAULTS, "alike", Fault("alike", "refused", "false", FAULTS["touched"].end, "here"))
    running = faults.begin(LAB, "touched", "a", 60)
    with pytest.raises(ConfigError, match="touched or alike is there already"):
        faults.begin(LAB, "alike", "a", 60)
    assert mark.exists()
    running.end()


def test_it_is_undone_when_who_asked_was_killed(mark: Path) -> None:
    asks = f"""
import os, signal
from canaryctl.lab import faults
from canaryctl.lab.faults import FAULTS, Fault
from canaryctl.lab.state import Lab, LabHost
FAULTS["touched"] = Fault("touched", "", "touch {mark}", "rm {mark}", "here")
faults.begin(Lab("t", "", {{"a": LabHost("", 1, "none")}}), "touched", "a", 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", asks], env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert mark.exists()
    end = time.monotonic() + 10
    while mark.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not mark.exists()


def test_one_that_cannot_be_made_is_undone_and_says_why(mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = Fault("half", "", f"touch {mark}; echo no such luck >&2; false", f"rm {mark}", "here")
    monkeypatch.setitem(FAULTS, "half", half)
    with pytest.raises(HostError, match="no such luck") as caught:
        faults.begin(LAB, "half", "a", 60)
    assert not mark.exists() and caught.value.where == "a" and caught.value.hint


def test_what_cannot_be_undone_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = tmp_path / "tries"
    stubborn = Fault("stubborn", "", ":", f"echo >>{tries}; [ $(wc -l <{tries}) = 2 ]", "here")
    monkeypatch.setitem(FAULTS, "stubborn", stubborn)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")  # no answer: the host may be there
    (tmp_path / "docker").chmod(0o755)
    faults.begin(LAB, "stubborn", "a", 0.1).wait()
    assert len(tries.read_text()) == 2


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ConfigError, match="no fault 'fire'") as caught:
        faults.begin(LAB, "fire", "a", 1)
    assert "link-cut" in caught.value.hint
    with pytest.raises(ConfigError, match=r"no host 'b' \(it has: a\)"):
        faults.begin(LAB, "link-cut", "b", 1)
    assert not state.directory("t").exists()


@pytest.mark.parametrize("name", FAULTS)
def test_each_is_shell_that_parses(name: str) -> None:
    for script in (FAULTS[name].begin, FAULTS[name].end, keeper.keeper(FAULTS[name])):
        done = subprocess.run(["sh", "-nc", script], capture_output=True, text=True)
        assert done.returncode == 0, (script, done.stderr)


def test_a_skewed_clock_is_an_hour_ahead_wherever_python_looks() -> None:
    looks = """
import time, datetime
now = datetime.datetime.now
walls = [time.time(), time.time_ns() / 1e9, time.clock_gettime(time.CLOCK_REALTIME), time.mktime(time.localtime())]
print(*walls, now().timestamp(), now(datetime.timezone.utc).timestamp(), time.monotonic())
"""
    monotonic = time.monotonic()
    program = (INSIDE / "skewed_clock.py").read_text() + looks
    *walls, measured = map(float, subprocess.check_output([sys.executable, "-c", program]).split())
    assert all(3590 < wall - time.time() < 3610 for wall in walls), walls
    assert 0 <= measured - monotonic < 60


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems")
@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_a_full_disk_is_full_and_what_changed_meanwhile_is_kept(what: str, tmp_path: Path) -> None:
    root, program = tmp_path / "root", tmp_path / "small_disk.py"
    (root / "stack").mkdir(parents=True)
    for name in ("stays", "goes", "changes"):
        (root / "stack" / name).write_text(name)
    (root / "current").symlink_to("stack")
    text = (INSIDE / "small_disk.py").read_text()
    program.write_text(text.replace("/opt/canaryctl", str(root)).replace("/run/canaryctl-fault", str(tmp_path / "s")))
    script = f"""
set -e
python3 {program} {what}
! cp {program} {root}/stack/new 2>/dev/null || ! cp {program} {root}/stack/newer 2>/dev/null
! dd if=/dev/zero of={root}/stack/big bs=4096 count=1 2>/dev/null
test $(cat {root}/current/stays) = stays
rm -f {root}/stack/goes {root}/stack/new
echo afterwards >{root}/stack/changes
ln -sfn nowhere {root}/current
python3 {program} end
python3 {program} end
"""
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (root / "stack/stays").read_text() == "stays"
    assert (root / "stack/changes").read_text() == "afterwards\n"
    assert not (root / "stack/goes").exists()
    assert os.readlink(root / "current") == "nowhere"  # noqa: PTH115
    assert not [path for path in root.rglob("*") if path.name.startswith(".filled") or path.name.endswith(".back")]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems")
def test_what_a_full_disk_did_not_copy_stays(tmp_path: Path) -> None:
    """Found by `disk-full:push`: what arrived meanwhile did not fit, and what was missing was taken for removed."""
    root, program, fake = tmp_path / "root", tmp_path / "small_disk.py", tmp_path / "bin/cp"
    root.mkdir()
    (root / "holder.json").write_text("{}")
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    text = (INSIDE / "small_disk.py").read_text()
    program.write_text(text.replace("/opt/canaryctl", str(root)).replace("/run/canaryctl-fault", str(tmp_path / "s")))
    script = f"PATH={fake.parent}:$PATH python3 {program} bytes; python3 {program} end"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (root / "holder.json").read_text() == "{}"
