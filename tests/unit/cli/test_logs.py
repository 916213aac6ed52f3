"""Options of the command `logs`. What it prints is in tests/unit/commands/test_logs.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import LOST, ctl, make_project


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "hunter-of-logs")
    make_project(tmp_path, lost=LOST)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--since", "yesterday"], 2),
        (["--since", "0s"], 2),
        (["--tail", "-1"], 2),
        (["wbe"], 2),
        (["web"], 2),  # its secrets, which no line may show, are not known
        (["web", "--secret-env", "TOKEN"], 3),
    ],
)
def test_wrong_usage_and_a_lost_host_have_their_codes(argv: list[str], code: int) -> None:
    assert ctl("logs", "canary", *argv).code == code
