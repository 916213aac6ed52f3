"""`canaryctl exec` before anything is run, with this machine as the host."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import LOST, ctl, make_project


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, here={}, lost=LOST)


def test_a_service_that_the_stack_does_not_have_is_refused() -> None:
    done = ctl("exec", "canary", "wbe", "--", "true")
    assert done.code == 2 and done.error and "'wbe'" in done.error.what and "web" in done.error.hint


def test_a_service_that_is_on_no_chosen_host_names_the_others(tmp_path: Path) -> None:
    stack = tmp_path / "stack.yml"
    stack.write_text(stack.read_text().replace("{all: [web]}", "{there: [web]}"))
    inventory = tmp_path / "inventories/canary/hosts.yml"
    inventory.write_text(inventory.read_text().replace('{"all": ', '{"there": {"hosts": {"lost": {}}}, "all": '))
    done = ctl("exec", "canary", "web", "--limit", "here", "--", "true")
    assert done.code == 2 and done.error and done.error.hint == "on: lost"


def test_a_service_that_does_not_run_is_the_hosts_failure_and_a_choice_is_said() -> None:
    done = ctl("exec", "canary", "web", "--", "true")
    assert done.code == 3 and done.error and (done.error.where, done.out) == ("here", "")
    assert done.err == "on here; --limit chooses another (lost)\n"


def test_a_host_that_cannot_be_asked_is_the_failure() -> None:
    done = ctl("exec", "canary", "web", "--limit", "lost", "--", "true")
    assert done.code == 3 and done.error and done.error.where == "lost"


def test_a_command_is_needed() -> None:
    assert ctl("exec", "canary", "web").code == 2
