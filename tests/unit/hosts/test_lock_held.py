"""What refuses a change on a host whose lock is lost: the role's module, and the command that writes the history."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

from canaryctl.errors import LockedError
from canaryctl.facts import lock_lost
from canaryctl.hosts.history import append_command

LIBRARY = Path(__file__).parents[3] / "roles" / "host_lock" / "library" / "lock_held.py"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "shop" / "lock"
    path.mkdir(parents=True)
    (path / "holder.json").write_text('{"holder": "me@laptop", "owner": "mine"}\n')
    return path


def appended(tmp_path: Path, lock: Path, owner: str) -> tuple[int, str]:
    """Exit code, and what the history is afterwards."""
    command = append_command(str(tmp_path), "shop", False, [{"path": str(lock), "owner": owner}])
    done = subprocess.run(["sh", "-c", command], input=b"line\n", check=False)
    history = tmp_path / "shop" / "history.jsonl"
    return done.returncode, history.read_text() if history.exists() else ""


def test_history_is_written_by_who_holds_the_lock_alone(tmp_path: Path, lock: Path) -> None:
    assert appended(tmp_path, lock, "another's") == (75, "")
    assert appended(tmp_path, lock, "mine") == (0, "line\n")
    (lock / "holder.json").unlink()
    assert appended(tmp_path, lock, "mine") == (75, "line\n")


def test_the_role_reads_who_holds_a_lock(tmp_path: Path, lock: Path) -> None:
    pytest.importorskip("ansible")
    spec = importlib.util.spec_from_file_location("lock_held", LIBRARY)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.held_by(str(lock)) == json.loads((lock / "holder.json").read_text())
    assert module.held_by(str(tmp_path / "none")) is None
    (lock / "holder.json").write_text("{")
    assert module.held_by(str(lock)) == {}


def test_who_lost_a_lock_is_told_who_has_it() -> None:
    error = lock_lost("canary-1", {"holder": "eve@box", "message": "swap"})
    assert isinstance(error, LockedError) and error.exit_code == 5 and error.where == "canary-1"
    assert "eve@box" in error.what and "swap" in error.what
    assert "nobody holds it" in lock_lost("canary-1", None).what
