"""The secrets that a lab is made with."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import make_project

from canaryctl.commands.lab import project_secrets
from canaryctl.errors import ConfigError


def test_each_environment_gets_what_the_stack_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path)
    make_project(tmp_path, "prod")
    monkeypatch.chdir(tmp_path)
    assert project_secrets() == {"canary": ["TOKEN"], "prod": ["TOKEN"]}


def test_outside_of_a_project_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        project_secrets()
