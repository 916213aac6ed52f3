"""`canaryctl lab` where no lab is up."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from projects import ctl, make_project

from canaryctl.cli.lab import _secrets


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_lab_that_is_not_up_has_no_hosts() -> None:
    assert ctl("lab", "status", "--name", "unit").out == "the lab 'unit' is not up\n"
    assert ctl("lab", "status", "--name", "unit", "--output", "json").document["hosts"] == {}


def test_its_hosts_cannot_be_logged_in_to() -> None:
    before = signal.getsignal(signal.SIGPIPE)
    done = ctl("lab", "ssh", "canary-1", "--name", "unit")
    assert signal.getsignal(signal.SIGPIPE) == before, "what ssh is to inherit is set for ssh alone"
    assert done.code == 2 and done.error and done.error.hint == "canaryctl lab up --name unit"


def test_outside_of_a_project_no_secrets_are_made_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert _secrets() == {} and capsys.readouterr().err.startswith("no secrets generated: ")


def test_in_a_project_they_are_those_that_its_stack_asks_for(tmp_path: Path) -> None:
    make_project(tmp_path)
    assert _secrets() == {"canary": ["TOKEN"]}


def test_faults_are_listed() -> None:
    done = ctl("lab", "fault")
    assert done.code == 0 and "link-cut" in done.out and len(done.out.splitlines()) == 17


def test_a_fault_needs_a_host_and_a_lab() -> None:
    assert "HOST" in str(ctl("lab", "fault", "link-cut").error)
    done = ctl("lab", "fault", "link-cut", "canary-1", "--name", "unit")
    assert done.code == 2 and done.error and done.error.hint == "canaryctl lab up --name unit"
