"""The note of which secrets services were started with: written by the role, read by the agent."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from canaryctl.agent.read.state import changed_since_start

_SOURCE = Path(__file__).parents[3] / "roles/stack_release/module_utils/applied_secrets.py"


@pytest.fixture
def remember() -> Callable[[str], None]:
    spec = importlib.util.spec_from_file_location("applied_secrets", _SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
