"""Locks held on two hosts that are folders of this machine: all or none, renewed, given up by who holds them alone."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from local import local_host

from canaryctl.agent.read.held import digest_of
from canaryctl.errors import LockedError
from canaryctl.facts.lock import LockFacts
from canaryctl.hosts import Fleet
from canaryctl.hosts.connection import Connection
from canaryctl.hosts.held import HeldLocks
from canaryctl.hosts.lock import Claim, show, stack_lock


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet([local_host(name, tmp_path / name) for name in ("a", "b")]) as made:
        yield made


def claim(locks: HeldLocks, **more: object) -> Claim:
    made = Claim(
        token=locks.token,
        holder="me@laptop",
        environment="canary",
        command="deploy",
        message="",
        run="r-1",
        directory="",
        ttl=60,
        held=False,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def wanted(fleet: Fleet, *names: str) -> dict[str, tuple[str, ...]]:
    return {name: (stack_lock(fleet.hosts[name], "shop"),) for name in names or fleet.hosts}


def holder(fleet: Fleet, name: str) -> str:
    (path,) = wanted(fleet, name)[name]
    seen = show(fleet.get(name), [path])
    return seen[path].holder if seen else ""


def test_what_is_taken_is_held_until_it_is_given_up(fleet: Fleet) -> None:
    locks = fleet.locks
    found, lost = locks.acquire(claim(locks), wanted(fleet))
    assert [attempt.refused for attempt in found.values()] == [None, None] and not lost
    assert locks.paths == wanted(fleet) and [holder(fleet, name) for name in "ab"] == ["me@laptop"] * 2
    (held,) = locks.held_on("a")
    assert held == {"path": wanted(fleet)["a"][0], "owner": digest_of(locks.token)} and locks.held_on("c") == []
    locks.require_held()
    locks.release()
    assert [holder(fleet, name) for name in "ab"] == ["", ""]


def test_nothing_is_taken_where_one_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    with Fleet(fleet.hosts) as other:
        other.locks.acquire(claim(other.locks, holder="bob@desk"), wanted(fleet, "b"))
        found, _ = fleet.locks.acquire(claim(fleet.locks), wanted(fleet))
        refused = found["b"].refused
        assert refused and refused.holder == "bob@desk"
        assert not fleet.locks.paths and holder(fleet, "a") == ""
        found, _ = fleet.locks.acquire(claim(fleet.locks), wanted(fleet), {refused.mark})
        assert [lock.holder for lock in found["b"].displaced] == ["bob@desk"]
        with pytest.raises(LockedError):
            other.locks.require_held()
        other.locks.release()  # not theirs any more
        assert holder(fleet, "b") == "me@laptop"


def test_a_lost_lock_stays_lost(fleet: Fleet) -> None:
    locks = fleet.locks
    locks.acquire(claim(locks), wanted(fleet))
    path = Path(wanted(fleet)["a"][0])
    kept = shutil.copytree(path, path.parent / "kept")
    shutil.rmtree(path)
    with pytest.raises(LockedError) as lost:
        locks.require_held()
    assert lost.value.where == "a"
    shutil.move(kept, path)
    with pytest.raises(LockedError):
        locks.require_held()


def test_locks_are_renewed_while_they_are_held(fleet: Fleet) -> None:
    locks = fleet.locks
    locks.acquire(claim(locks, ttl=0.6), wanted(fleet, "a"))
    file = Path(wanted(fleet)["a"][0]) / "holder.json"
    began = json.loads(file.read_text())["renewed"]
    deadline = time.monotonic() + 10
    while json.loads(file.read_text())["renewed"] == began and time.monotonic() < deadline:
        time.sleep(0.05)
    assert json.loads(file.read_text())["renewed"] > began
    locks.release()
    assert not file.exists()


def test_locks_are_given_up_though_the_connections_are_closed(fleet: Fleet) -> None:
    locks = fleet.locks
    locks.acquire(claim(locks), wanted(fleet))
    fleet.close()
    locks.release()
    with Fleet(fleet.hosts) as other:
        assert [holder(other, name) for name in "ab"] == ["", ""]


def test_where_nothing_is_held_nothing_is_asked(fleet: Fleet) -> None:
    fleet.locks.require_held()
    fleet.locks.release()
    assert fleet.locks.held_on("a") == []


def test_giving_up_waits_for_no_host_longer_than_it_is_told(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.locks.acquire(claim(fleet.locks), wanted(fleet))
    give_up = fleet.locks._give_up

    def slow(connection: Connection, paths: Sequence[str]) -> tuple[LockFacts, ...]:
        if connection.host == "a":
            time.sleep(60)
        return give_up(connection, paths)

    monkeypatch.setattr(fleet.locks, "_give_up", slow)
    began = time.monotonic()
    fleet.locks.release(1.5)
    assert time.monotonic() - began < 4 and (holder(fleet, "a"), holder(fleet, "b")) == ("me@laptop", "")
