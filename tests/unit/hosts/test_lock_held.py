"""What refuses a change on a host whose lock is lost: the rule that programs and the role's module share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rolemodules import ROLES, load

from canaryctl.agent.read.held import LockLost, require_locks
from canaryctl.errors import LockedError
from canaryctl.facts import lock_lost


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "shop" / "lock"
    path.mkdir(parents=True)
    (path / "holder.json").write_text('{"holder": "me@laptop", "owner": "mine", "renewed": 1}\n')
    return path


@pytest.mark.parametrize("text", ["{", "[]", "1", '{"owner": "mine"}'])
def test_a_holder_that_cannot_be_read_holds_nothing(lock: Path, text: str) -> None:
    require_locks([{"path": str(lock), "owner": "mine"}])
    (lock / "holder.json").write_text(text)
    with pytest.raises(LockLost) as lost:
        require_locks([{"path": str(lock), "owner": "mine"}])
    assert lost.value.holder is not None and lost.value.holder["holder"] == "somebody unknown"
    (lock / "holder.json").unlink()
    with pytest.raises(LockLost) as lost:
        require_locks([{"path": str(lock), "owner": "mine"}])
    assert lost.value.holder is None


def test_the_role_reads_who_holds_a_lock(tmp_path: Path, lock: Path) -> None:
    held = load(ROLES / "host_lock" / "module_utils" / "held.py", "ansible.module_utils.held")
    assert held.read_holder(str(lock)) == json.loads((lock / "holder.json").read_text())
    assert held.read_holder(str(tmp_path / "none")) is None
    (lock / "holder.json").write_text("{")
    assert held.read_holder(str(lock))["holder"] == "somebody unknown"


def test_who_lost_a_lock_is_told_who_has_it() -> None:
    error = lock_lost("canary-1", {"holder": "eve@box", "message": "swap"})
    assert isinstance(error, LockedError) and error.exit_code == 5 and error.where == "canary-1"
    assert "eve@box" in error.what and "swap" in error.what
    assert "nobody holds it" in lock_lost("canary-1", None).what
