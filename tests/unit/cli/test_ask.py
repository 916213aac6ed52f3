"""Questions, on a terminal and without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import make_project

from canaryctl.cli.ask import agreed, require_agreement, require_environment_name
from canaryctl.errors import ConfigError


def test_without_a_terminal_nobody_agrees() -> None:
    assert not agreed("really?")
    with pytest.raises(ConfigError, match="nothing was pinned") as refused:
        require_agreement("really?", False, "nothing was pinned")
    assert "--yes" in refused.value.hint
    require_agreement("really?", True, "nothing was pinned")


@pytest.mark.parametrize("given", [None, "canari", ""])
def test_data_goes_only_with_the_environments_name(given: str | None) -> None:
    with pytest.raises(ConfigError):
        require_environment_name("canary", given)
    require_environment_name("canary", "canary")


def asked(tmp_path: Path, answers: str, *argv: str) -> tuple[int, str]:
    """Run canaryctl on a terminal of its own, on which `answers` are typed. Gives its exit code and what that shows."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("canaryctl")), *argv],
        cwd=make_project(tmp_path),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "dumb"},
    ) as process:
        os.close(theirs)
        os.write(ours, answers.encode())
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        return process.wait(60), shown.decode()


@pytest.mark.parametrize(
    ("answers", "argv", "question", "error"),
    [
        ("n\n", [], "stop every service of canary?", "not confirmed"),
        ("y\ncanari\n", ["--volumes"], "write its name", "'canari' is not canary"),
        ("canari\n", ["--volumes", "--yes"], "write its name", "'canari' is not canary"),
    ],
)
def test_on_a_terminal_they_are_asked(tmp_path: Path, answers: str, argv: list[str], question: str, error: str) -> None:
    code, shown = asked(tmp_path, answers, "down", "canary", *argv)
    assert code == 2 and question in shown and error in shown


def test_signers_are_added_on_a_yes(tmp_path: Path) -> None:
    key = tmp_path / "ann.pub"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "ann")], check=True)
    code, shown = asked(tmp_path, "y\n", "trust", "signers", "canary", "--add", str(key))
    assert code == 0 and "add 1 keys to " in shown
    assert key.read_text().split()[1] in (tmp_path / "inventories/canary/allowed_signers").read_text()
