"""Options of the commands that touch an environment: what is refused before any host is."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import ctl, make_project

from canaryctl.cli.deploy import _agreed, _rate
from canaryctl.cli.output import Output
from canaryctl.errors import ConfigError

STAGES = ("provision", "push", "render", "migrate", "start")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)


@pytest.mark.parametrize(
    ("argv", "where"),
    [
        (["deploy", "canary", "--check", "--baseline", "only"], ""),
        (["deploy", "canary", "--force"], "--force"),
        (["deploy", "canary", "--reason", "x"], "--reason"),
        (["push", "canary", "--bwlimit", "fast"], "--bwlimit"),
        (["push", "canary", "--bwlimit", "0"], "--bwlimit"),
        (["probe", "canary", "--every", "3s"], "--every"),
        (["down", "canary", "--confirm-volumes", "canary"], ""),
        (["down", "canary"], ""),
        (["down", "canary", "--yes", "--volumes"], ""),
        (["down", "canary", "--yes", "--volumes", "--confirm-volumes", "canari"], "--confirm-volumes"),
    ],
)
def test_options_that_do_not_go_together_are_refused(argv: list[str], where: str, tmp_path: Path) -> None:
    done = ctl(*argv)
    assert done.code == 2 and done.error and done.error.where == where and done.error.hint
    assert not (tmp_path / "runs").exists() and not (tmp_path / "hosts").exists()


@pytest.mark.parametrize("command", ["deploy", "plan", "probe", "collect", "rollback", "down", *STAGES])
def test_each_needs_an_environment_and_refuses_what_it_does_not_know(command: str) -> None:
    assert ctl(command).code == 2
    assert ctl(command, "canary", "--no-such-option").code == 2
    done = ctl(command, "nowhere", "--yes") if command in ("deploy", "down", "rollback") else ctl(command, "nowhere")
    assert done.code == 2


def test_a_rate_is_bytes_a_second() -> None:
    assert _rate("25MB") == _rate("25MB/s") == 25e6
    with pytest.raises(ConfigError):
        _rate("-1")


CHANGE = {"host": "one", "stage": "push", "what": "send web", "reason": "it is not there"}


def test_plans_are_shown_before_anybody_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert _agreed({"": [CHANGE]}, True, Output.TEXT, "really?")
    one = capsys.readouterr().out.splitlines()
    assert one[0] == "one" and "send web" in one[1]
    assert not _agreed({"the baseline": [CHANGE], "the candidate": []}, False, Output.TEXT, "really?")
    assert capsys.readouterr().out.splitlines() == ["the baseline:", *one, "the candidate:", "nothing to change"]
    assert _agreed({"": [CHANGE]}, True, Output.JSON, "really?") and capsys.readouterr().out == ""
