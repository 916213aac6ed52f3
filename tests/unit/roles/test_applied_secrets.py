"""The note of which secrets services were started with: written by the role, read by the agent."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import rolemodules  # noqa: F401  puts the roles' module_utils where Ansible has them

from canaryctl.agent.read.state import changed_since_start


@pytest.fixture
def remember() -> Callable[[str], None]:
    module = import_module("ansible.module_utils.applied_secrets")
    found: Callable[[str], None] = module.remember_secrets
    return found


def test_only_what_changed_since_is_named(tmp_path: Path, remember: Callable[[str], None]) -> None:
    file = tmp_path / "secrets.env"
    file.write_text('A="1"\nB="2"\n')
    remember(str(file))
    assert changed_since_start(str(tmp_path)) == []
    file.write_text('A="1"\nB="other"\nC="new"\n')
    assert changed_since_start(str(tmp_path)) == ["B", "C"]
    remember(str(file))
    assert changed_since_start(str(tmp_path)) == []


def test_the_note_is_private_tells_no_value_and_stays_while_nothing_changes(
    tmp_path: Path, remember: Callable[[str], None]
) -> None:
    file = tmp_path / "secrets.env"
    file.write_text('A="a value"\n')
    remember(str(file))
    note = tmp_path / "secrets.applied.json"
    before = note.read_text()
    assert note.stat().st_mode & 0o777 == 0o600 and "a value" not in before
    remember(str(file))
    assert note.read_text() == before
    note.write_text("damaged")
    remember(str(file))
    assert changed_since_start(str(tmp_path)) == []


def test_a_stack_without_secrets_leaves_no_note(tmp_path: Path, remember: Callable[[str], None]) -> None:
    remember(str(tmp_path / "secrets.env"))
    remember("")
    assert list(tmp_path.iterdir()) == []
