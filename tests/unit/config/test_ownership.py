"""Whose project is believed: never another user's, nor one that everyone may write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from canaryctl.config.environment import load_environment
from canaryctl.config.ownership import require_own
from canaryctl.config.project import load_project
from canaryctl.errors import ConfigError

OTHER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, from a folder below which commands are started."""
    for name in ("STACK", "INVENTORIES", "RUNS", "PROBES"):
        monkeypatch.delenv(f"CANARYCTL_{name}", raising=False)
    monkeypatch.delenv("SUDO_UID", raising=False)
    made = tmp_path / "project"
    for folder in ("inventories/prod/group_vars", "hooks", "below/here"):
        (made / folder).mkdir(parents=True)
    (made / "canaryctl.yml").write_text("stack: stack.yml\n")
    (made / "inventories/prod/hosts.yml").write_text("all: {hosts: {one: {}}}\n")
    (made / "hooks/pre-deploy").write_text("#!/bin/sh\n")
    return made


def read(project: Path) -> None:
    load_environment(load_project(start=project / "below/here"), "prod")


def refusal(project: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(project)
    return caught.value


PLACES = (".", "canaryctl.yml", "hooks", "hooks/pre-deploy", "inventories", "inventories/prod/hosts.yml")


def test_the_operators_own_is_read(project: Path) -> None:
    read(project)


@as_root
@pytest.mark.parametrize("place", PLACES)
def test_what_belongs_to_another_user_is_refused_with_the_owner(project: Path, place: str) -> None:
    os.chown(project / place, OTHER, OTHER)
    error = refusal(project)
    assert "nobody" in error.what and "chown" in error.hint and error.exit_code == 2
    assert error.where.endswith(str((project / place).resolve()))


@pytest.mark.parametrize("place", PLACES)
def test_what_everyone_may_write_is_refused(project: Path, place: str) -> None:
    (project / place).chmod(0o777)
    assert "chmod -R o-w" in refusal(project).hint


def test_nobody_is_told_to_take_a_folder_from_all_that_share_it(project: Path) -> None:
    project.chmod(0o1777)
    error = refusal(project)
    assert "every user" in error.what and "chmod" not in error.hint and "folder of its own" in error.hint


@as_root
def test_who_called_sudo_counts_as_the_operator(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(project / "canaryctl.yml", OTHER, OTHER)
    monkeypatch.setenv("SUDO_UID", str(OTHER))
    read(project)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # without sudo the variable is anybody's to set
    refusal(project)


def test_what_the_operator_names_is_their_word_and_brings_no_hooks(project: Path, tmp_path: Path) -> None:
    (project / "canaryctl.yml").chmod(0o666)
    named = {"stack": project / "stack.yml", "inventories": project / "inventories", "runs": tmp_path / "runs"}
    loaded = load_project(start=project, **named)
    assert loaded.hooks is None and loaded.inventories == project / "inventories"
    with pytest.raises(ConfigError):
        load_project(start=project, stack=named["stack"])


def test_a_folder_that_all_share_is_to_stay_so(tmp_path: Path) -> None:
    for mode, remedy in ((0o1777, "folder of its own"), (0o777, "chmod")):
        tmp_path.chmod(mode)
        with pytest.raises(ConfigError) as caught:
            require_own(tmp_path)
        assert remedy in caught.value.hint
    tmp_path.chmod(0o770)  # a group is for its team to judge
    require_own(tmp_path)
    require_own(tmp_path / "absent")
