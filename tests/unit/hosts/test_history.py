"""The history of a stack as it is written on a host: this machine, by its own shell and Python."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from local import local

from canaryctl.errors import HostError, LockedError
from canaryctl.hosts.history import append, history_line

LINE = {"time": "2026-01-01T00:00:00Z", "what": "start", "to": "x" * 64}


def written(root: Path) -> list[dict[str, str]]:
    history = root / "shop" / "history.jsonl"
    return [json.loads(line) for line in history.read_text().splitlines()] if history.exists() else []


def test_history_lines_never_mix(tmp_path: Path) -> None:
    line = history_line(who="a@b", environment="canary", what="start", after="x" * 64, verdict=None, run="r")
    assert list(line) == ["time", "who", "environment", "what", "from", "to", "verdict", "run"]
    root = tmp_path / "with space"

    def add(number: int) -> None:
        append(local(root=root), "shop", line | {"what": f"é{number}" * 3000})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert sorted(each["what"][:6] for each in written(root)) == sorted((f"é{n}" * 3)[:6] for n in range(24))
    assert (root / "shop" / "history.jsonl").stat().st_mode & 0o777 == 0o644


def test_text_that_is_no_unicode_is_written_so_that_it_can_be_read(tmp_path: Path) -> None:
    append(local(root=tmp_path), "shop", {**LINE, "who": "caf\udce9"})
    assert written(tmp_path) == [{**LINE, "who": "caf\udce9"}]


def test_a_refused_history_names_the_host(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError) as caught:
        append(local(root=tmp_path / "file"), "shop", LINE)
    assert caught.value.where == "here" and "history" in caught.value.what


def test_history_is_written_by_who_holds_the_lock_alone(tmp_path: Path) -> None:
    lock = tmp_path / "shop" / "lock"
    lock.mkdir(parents=True)
    holder = lock / "holder.json"
    holder.write_text('{"holder": "me@laptop", "owner": "mine", "renewed": 1}\n')

    def add(owner: str) -> None:
        locks = [{"path": str(lock), "owner": owner}]
        append(local(root=tmp_path), "shop", LINE, locks=locks)

    with pytest.raises(LockedError) as caught:
        add("another's")
    assert caught.value.exit_code == 5 and "me@laptop" in caught.value.what and written(tmp_path) == []
    add("mine")
    assert written(tmp_path) == [LINE]
    holder.unlink()
    with pytest.raises(LockedError):
        add("mine")
    assert written(tmp_path) == [LINE]
