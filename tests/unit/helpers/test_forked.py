"""canaryctl from a process that has imported it answers as one that a shell starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import Warm

CTL = str(Path(sys.executable).with_name("canaryctl"))


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    made = Warm(CTL, os.environ)
    yield made
    made.close()


@pytest.mark.parametrize("argv", [["--version"], ["plan", "nowhere"], ["bogus"], ["runs", "list", "--output", "json"]])
def test_it_answers_and_ends_as_a_shells(warm: Warm, tmp_path: Path, argv: list[str]) -> None:
    (tmp_path / "canaryctl.yml").touch()
    env = {**os.environ, "CANARYCTL_RUNS": str(tmp_path / "runs")}
    cold = subprocess.run([CTL, *argv], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    for _ in range(2):
        done = warm.run(*argv, cwd=tmp_path, env=env, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_one_that_takes_too_long_is_ended(warm: Warm, tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run("--version", cwd=tmp_path, env=os.environ, timeout=0.0001)
    assert warm.run("--version", cwd=tmp_path, env=os.environ, timeout=60).returncode == 0


def test_what_imports_read_has_to_be_the_same(warm: Warm, tmp_path: Path) -> None:
    assert warm.fits(tmp_path, {**os.environ, "CANARYCTL_RUNS": "elsewhere"})
    assert not warm.fits(tmp_path, {**os.environ, "ANSIBLE_FORKS": "1"})
    (tmp_path / "ansible.cfg").touch()
    assert not warm.fits(tmp_path, os.environ)
