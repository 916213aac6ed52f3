"""What killed programs left on a host is found, and cleared where the lock is ours."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from canaryctl.agent.read import leftovers
from canaryctl.agent.write import lock

OLD = (
    *("shop/.secrets.env.partial", "shop/.started.json.a1b2c3_d", "shop/releases/.0123-89.partial/compose.yml"),
    *("shop/lock.new-71d9c4/holder.json", "shop/lock.gone/holder.json", "shop/backups/.prod.json.abcdefgh"),
)
STAYS = ("shop/secrets.env", "shop/releases/0123-89/.env.partial", "shop/releases/.keep", "shop/history.jsonl")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (*OLD, *STAYS, ".lock.new-1/holder.json", ".others.abcdefgh", ".incoming/sha256-1.zst"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path / "root"


def age(root: Path, hours: float) -> None:
    for path in [*root.rglob("*"), root]:
        os.utime(path, (time.time() - hours * 3600,) * 2, follow_symlinks=False)


def found(root: Path) -> set[str]:
    (root.parent / "tmp").mkdir(exist_ok=True)
    left = leftovers.about_leftovers(str(root), "shop", (str(root.parent / "tmp"),))
    return {os.path.relpath(one["path"], root) for one in left}


FIRST = {"/".join(name.split("/")[: 3 if name.startswith(("shop/releases", "shop/backups")) else 2]) for name in OLD}


def test_what_was_never_put_into_place_is_found_once_it_is_old(root: Path) -> None:
    assert found(root) == set()  # somebody may be at work
    age(root, 1)
    assert found(root) == {*FIRST, ".lock.new-1"}
    age(root, 48)
    assert found(root) == {*FIRST, ".lock.new-1", ".incoming/sha256-1.zst"}


def test_folders_for_temporary_files_are_looked_into(root: Path) -> None:
    for name in ("canaryctl-a1b2c3_d", "canaryctl-of-somebody", "other"):
        (root.parent / "tmp" / name).mkdir(parents=True)
    age(root.parent / "tmp", 1)
    assert found(root) == {"../tmp/canaryctl-a1b2c3_d"}


def test_who_takes_the_lock_clears_the_stacks_folder_and_nobody_elses(root: Path) -> None:
    age(root, 1)
    holder = {"holder": "me@laptop", "token": "t", "ttl": 60.0, "held": False}
    order = {"paths": [str(root / "shop/lock"), str(root / ".lock")], "holder": holder, "displace": []}
    assert lock.acquire(order)["holder"] is None
    assert found(root) == set() and not any((root / name).exists() for name in OLD)
    assert all((root / name).exists() for name in (*STAYS, ".others.abcdefgh", "shop/lock/holder.json"))


def test_a_host_that_can_keep_no_lock_says_what_is_free(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    lock.answer_lock({"action": "acquire", "paths": [str(tmp_path / "file/shop/lock")], "holder": {}, "displace": []})
    said = capsys.readouterr().out
    assert "bytes and" in said and f"inodes are free at {tmp_path}/file" in said
