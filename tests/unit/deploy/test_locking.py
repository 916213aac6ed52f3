"""Who makes way for a run's lock, who is waited for, and what is locked: real locks, on this machine."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contexts import make_context, make_deployment, notes, seen

from canaryctl.agent.read.held import HOLDER_FILE, digest_of
from canaryctl.agent.write import lock as on_host
from canaryctl.deploy import locking
from canaryctl.deploy.command import DEPLOY, STAGES, Command
from canaryctl.deploy.context import RunContext
from canaryctl.errors import HostError, LockedError
from canaryctl.evidence.document import RunIdentity, operator_name
from canaryctl.evidence.run import Run
from canaryctl.facts.host import HostFacts

PUSH = STAGES["push"]


class Locks:
    """The locks that others have on hosts of a project."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, host: str, *, whole: bool = False) -> Path:
        return self.root / "hosts" / host / (".lock" if whole else "shop/lock")

    def put(self, host: str, *, whole: bool = False, expired: bool = False, **more: Any) -> None:
        """A lock of somebody else."""
        path = self.path(host, whole=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        known = {"token": "theirs", "holder": "bob@desk", "environment": "prod", "command": "deploy", "message": ""}
        on_host.put(str(path), {**known, "run": "", "directory": "", "ttl": 60, "held": False, **more})
        if expired:
            holder = path / HOLDER_FILE
            holder.write_text(json.dumps(json.loads(holder.read_text()) | {"renewed": 1.0, "up": 1.0}))

    def owner(self, host: str, *, whole: bool = False) -> str | None:
        """Whose digest a lock has; None where there is none."""
        file = self.path(host, whole=whole) / HOLDER_FILE
        return str(json.loads(file.read_text())["owner"]) if file.exists() else None


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    return Locks(tmp_path)


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each time that the hosts were observed again."""
    again: list[str] = []
    monkeypatch.setattr(RunContext, "observe", lambda self, again_=False: again.append("again"))
    return again


@pytest.fixture
def running(working: Any, observed: list[str]) -> Callable[..., RunContext]:
    """A run that has observed its hosts now."""

    def make(*hosts: str, command: Command = DEPLOY, **known: Any) -> RunContext:
        ctx: RunContext = working(*hosts, command=command, **known)
        ctx.facts = {host.name: seen(host.name, time=time.time()) for host in ctx.deployment.hosts}
        ctx.before = dict(ctx.facts)
        return ctx

    return make


def ours(ctx: RunContext) -> str:
    return digest_of(ctx.fleet.locks.token)


def test_every_host_is_locked_and_freed_at_the_end(running: Any, locks: Locks, observed: list[str]) -> None:
    ctx = running("a", "b")
    locking.take(ctx)
    assert locks.owner("a") == locks.owner("b") == ours(ctx)
    assert locks.owner("a", whole=True) is None and not observed
    held = [{"path": str(locks.path("a")), "owner": ours(ctx)}]
    assert ctx.fleet.locks.held_on("a") == held and ctx.fleet.locks.token not in str(held)
    ctx.__exit__()
    assert locks.owner("a") is None and locks.owner("b") is None


def test_the_whole_host_is_locked_besides_where_it_is_changed(running: Any, locks: Locks) -> None:
    ctx = running("a")
    locking.take(ctx)
    locking.take(ctx, host_too=True)  # what is held already stays
    assert locks.owner("a", whole=True) == locks.owner("a") == ours(ctx)
    assert [one["path"] for one in ctx.fleet.locks.held_on("a")] == [
        str(locks.path("a")),
        str(locks.path("a", whole=True)),
    ]


def test_all_hosts_are_locked_or_none(running: Any, locks: Locks) -> None:
    locks.put("b")
    with pytest.raises(LockedError) as refused:
        locking.take(running("a", "b"))
    assert refused.value.where == "b" and "bob@desk" in refused.value.what
    assert locks.owner("a") is None and locks.owner("b") == digest_of("theirs")


def ended_run(root: Path) -> dict[str, str]:
    """What a lock says of a run of this machine that is over."""
    run = Run.start(root / "runs", RunIdentity("deploy", "prod"))
    run.finish("passed", 0)
    return {"holder": operator_name(), "run": run.id, "directory": str(run.path)}


# whose lock is there, the run's own options -> whether it makes way
@pytest.mark.parametrize(
    ("theirs", "asked", "gives_way"),
    [
        ({}, {}, False),
        ({"expired": True}, {}, True),
        ({"held": True}, {}, False),
        ({"held": True, "expired": True}, {}, True),
        ({}, {"break_lock": True}, True),
        ({"held": True}, {"break_lock": True}, True),
        ("an ended run of ours", {}, True),
        ("an ended run of another operator", {}, False),
        ("another folder than that run's", {}, False),
        ("a run that goes on", {}, False),
        ("a run whose record is not here", {}, False),
    ],
)
def test_who_makes_way(theirs: Any, asked: dict[str, Any], gives_way: bool, running: Any, locks: Locks) -> None:
    root = locks.root
    alive = Run.start(root / "runs", RunIdentity("deploy", "prod"))
    known: dict[str, Any] = {
        "an ended run of ours": lambda: ended_run(root),
        "an ended run of another operator": lambda: ended_run(root) | {"holder": "bob@desk"},
        "another folder than that run's": lambda: ended_run(root) | {"run": "20260101T000000Z-deploy-0000"},
        "a run that goes on": lambda: {"holder": operator_name(), "run": alive.id, "directory": str(alive.path)},
        "a run whose record is not here": lambda: {
            "holder": operator_name(), "run": "r-1", "directory": str(root / "r-1"),
        },
    }  # fmt: skip
    locks.put("a", **(known[theirs]() if isinstance(theirs, str) else theirs))
    ctx = running("a", **asked)
    if gives_way:
        locking.take(ctx)
        assert locks.owner("a") == ours(ctx) and len(notes(ctx)) == 1
    else:
        with pytest.raises(LockedError):
            locking.take(ctx)
        assert locks.owner("a") == digest_of("theirs") and not notes(ctx)
    alive.finish("passed", 0)


def test_hosts_of_one_who_made_way_are_observed_again(running: Any, locks: Locks, observed: list[str]) -> None:
    locks.put("a", expired=True)
    ctx = running("a")
    locking.take(ctx)
    assert observed == ["again"] and ctx.before == {}  # what was there before was somebody else's doing


def test_hosts_that_were_changed_since_they_were_observed_are_observed_again(
    running: Any, locks: Locks, observed: list[str]
) -> None:
    ctx = running("a")
    time.sleep(0.2)
    (locks.path("a").parent / "releases").mkdir(parents=True)
    locking.take(ctx)
    assert observed == ["again"]


def test_hosts_that_are_as_they_were_observed_are_not(running: Any, locks: Locks, observed: list[str]) -> None:
    (locks.path("a").parent / "releases").mkdir(parents=True)
    time.sleep(0.3)
    locking.take(running("a"))
    assert not observed


def soon(seconds: float, do: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()


@pytest.mark.parametrize(
    ("command", "theirs", "asked", "waits"),
    [
        (DEPLOY, "deploy", {"wait": True}, True),
        (DEPLOY, "deploy", {}, False),
        (DEPLOY, "push", {}, False),
        (PUSH, "push", {}, True),  # images beside what runs are in nobody's way
        (PUSH, "deploy", {}, False),
    ],
    ids=lambda value: value.name if isinstance(value, Command) else str(value),
)
def test_who_is_waited_for(
    command: Command,
    theirs: str,
    asked: dict[str, Any],
    waits: bool,
    running: Any,
    locks: Locks,
    observed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locking, "_LOOK_EVERY", 0.1)
    locks.put("a", command=theirs)
    ctx = running("a", command=command, **asked)
    if not waits:
        with pytest.raises(LockedError):
            locking.take(ctx)
        return
    soon(1, lambda: shutil.rmtree(locks.path("a")))
    locking.take(ctx)
    assert locks.owner("a") == ours(ctx) and observed == ["again"]
    said = [json.loads(text) for text in (ctx.run.path / "events.jsonl").read_text().splitlines()]
    assert [event["host"] for event in said if event["type"] == "lock.waiting"] == ["a"]  # once


def test_patience_ends(running: Any, locks: Locks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "_LOOK_EVERY", 0.05)
    monkeypatch.setattr(locking, "_WAIT_AT_MOST", 0.3)
    locks.put("a")
    with pytest.raises(LockedError):
        locking.take(running("a", wait=True))


def test_a_rehearsal_locks_nothing(running: Any, locks: Locks) -> None:
    ctx = running("a", check=True)
    locking.take(ctx, host_too=True)
    assert not ctx.fleet.locks.paths and locks.owner("a") is None and ctx.fleet.locks.held_on("a") == []
    ctx.fleet.locks.require_held()


def test_where_sudo_is_refused_nothing_is_locked(running: Any, locks: Locks) -> None:
    ctx = running("a", "b")
    ctx.facts["a"] = HostFacts("a", become="refused")
    locking.take(ctx)
    assert locks.owner("a") is None and locks.owner("b") == ours(ctx)


def test_a_host_that_is_lost_on_the_way_is_left_out(running: Any, locks: Locks, monkeypatch: Any) -> None:
    ctx = running("a", "b")
    each = ctx.fleet.each

    def lose(hosts: list[str], action: Any) -> Any:
        done, lost = each([host for host in hosts if host != "b"], action)
        return done, lost | {host: HostError("gone", host) for host in hosts if host == "b"}

    monkeypatch.setattr(ctx.fleet, "each", lose)
    locking.take(ctx)
    assert list(ctx.facts) == ["a"] and list(ctx.state.failures) == ["b"] and locks.owner("a") == ours(ctx)


def test_a_lock_that_is_broken_stops_the_run_before_its_next_stage(running: Any, locks: Locks) -> None:
    ctx = running("a")
    locking.take(ctx)
    ctx.fleet.locks.require_held()
    shutil.rmtree(locks.path("a"))
    locks.put("a", holder="eve@desk")
    with pytest.raises(LockedError) as lost:
        ctx.fleet.locks.require_held()
    assert "eve@desk" in lost.value.what
    ctx.__exit__()
    assert locks.owner("a") == digest_of("theirs")  # not ours to give up


@pytest.mark.parametrize("free", [True, False])
def test_pruning_takes_the_whole_host_where_it_is_free_and_waits_for_nobody(
    free: bool, running: Any, locks: Locks
) -> None:
    ctx = running("a", wait=True)
    locking.take(ctx)
    if not free:
        locks.put("a", whole=True)
    assert locking.take_to_prune(ctx) is free
    assert len(notes(ctx)) == (0 if free else 1) and locks.owner("a") == ours(ctx)


def test_a_nested_runs_lock_stays_when_it_ends(running: Any, locks: Locks, tmp_path: Path) -> None:
    ctx = running("a")
    locking.take(ctx)
    with make_context(make_deployment(tmp_path, ("a",))) as nested:
        nested.fleet.locks = ctx.fleet.locks
    assert locks.owner("a") == ours(ctx)
