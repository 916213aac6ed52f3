"""Which hosts go back to what after a failure, with which database, and which images may be sent there for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contexts import MIGRATING, line, release_document, seen

from canaryctl.deploy import rollback
from canaryctl.deploy.backups import Backup
from canaryctl.deploy.command import ROLLBACK
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.rollback import _deployed_from_here
from canaryctl.deploy.state import Migration, Served
from canaryctl.errors import ApplyError, LockedError
from canaryctl.evidence.document import new_document
from canaryctl.evidence.store import StoredRun, stored_runs
from canaryctl.facts.host import HostFacts, ImageFacts, StateFacts
from canaryctl.plan.release import ImageFact
from canaryctl.plan.rollback import HostRollback, RollbackPlan

OURS, OTHERS = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def record(runs: Path, number: int, command: str, stack: str, identity: str) -> None:
    folder = runs / "prod" / f"20261130T08{number:02}00Z-{command}-0000"
    folder.mkdir(parents=True)
    release: dict[str, Any] = {"id": "c" * 64, "images": {"web": {"id": identity}}, "services": {}, "migration": None}
    known = {"id": folder.name, "command": command, "environment": "prod", "stack": stack, "release": release}
    document = new_document(**known, verdict="passed", finished="2026-11-30T08:00:00Z")
    (folder / "run.json").write_text(json.dumps(document))


def sent(runs: Path) -> set[str]:
    images = {
        name: ImageFact(name=name, id=identity, reference="", size=1, layers=(), platform="linux/amd64")
        for name, identity in {"web": OURS, "other": OTHERS}.items()
    }
    return set(_deployed_from_here(runs, "shop", images))


def test_what_a_deploy_from_here_had_may_be_sent_again(tmp_path: Path) -> None:
    record(tmp_path, 1, "deploy", "shop", OURS)
    assert sent(tmp_path) == {"web"}


def test_no_image_of_another_stack_and_none_that_only_hosts_named(tmp_path: Path) -> None:
    record(tmp_path, 1, "deploy", "shop", OURS)
    record(tmp_path, 2, "deploy", "payroll", OTHERS)
    record(tmp_path, 3, "rollback", "shop", OTHERS)
    record(tmp_path, 4, "probe", "shop", OTHERS)
    assert sent(tmp_path) == {"web"}


def test_nothing_without_a_record(tmp_path: Path) -> None:
    assert sent(tmp_path / "none") == set()


def test_evidence_that_may_not_be_read_keeps_nobody_from_going_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(runs: Path, environment: str | None = None) -> Iterator[StoredRun]:
        if environment != "prod":
            raise PermissionError(13, "Permission denied", str(runs))
        return stored_runs(runs, environment)

    (tmp_path / "canary").mkdir()
    record(tmp_path, 1, "deploy", "shop", OURS)
    monkeypatch.setattr(rollback, "stored_runs", read)
    assert sent(tmp_path) == {"web"}


EARLIER = "e" * 64  # what served before; the run itself is about the deployment's release
STARTED = {"render", "migrate", "start"}


def earlier(ctx: RunContext, host: str, **changed: Any) -> dict[str, Any]:
    """release.json of the release that served before."""
    return release_document(ctx.deployment, host, **{"id": EARLIER, **changed})


def on_host(ctx: RunContext, host: str, was: str) -> tuple[HostFacts, HostFacts]:
    """A host before and after a run: what `was` says had served there."""
    mine = release_document(ctx.deployment, host)
    document = {
        "proven": earlier(ctx, host),
        "unproven": earlier(ctx, host),
        "the same": mine,
        "another environment's": earlier(ctx, host, environment="staging"),
    }.get(was)
    history = {
        "proven": [line(EARLIER)],
        "another environment's": [line(EARLIER, environment="staging")],
    }.get(was, ())
    if was == "unreadable":
        before = HostFacts(host, state=StateFacts(current="somewhere"))
    else:
        before = seen(host, *([document] if document else []), history=history)
    after = seen(host, mine, *([document] if document else []), history=history, running=["web"])
    return before, after


@pytest.mark.parametrize(
    ("was", "touched", "goes"),
    [
        ("proven", STARTED, EARLIER),
        ("proven", {"render", "migrate"}, EARLIER),
        ("proven", {"down"}, EARLIER),
        ("proven", {"restore"}, EARLIER),
        ("proven", {"rollback"}, EARLIER),
        ("proven", {"render"}, None),  # it serves what it did
        ("proven", set(), None),
        ("nothing", STARTED, "removed"),
        ("nothing", {"render"}, "removed"),
        ("nothing", set(), None),
        ("unproven", STARTED, "left"),
        ("unproven", {"render"}, None),
        ("the same", STARTED, "left"),
        ("another environment's", STARTED, EARLIER),
        ("unreadable", STARTED, None),
    ],
)
def test_a_host_goes_back_to_what_it_served_where_that_was_touched(
    was: str, touched: set[str], goes: str | None, working: Any
) -> None:
    ctx = working("a")
    before, after = on_host(ctx, "a", was)
    ctx.before, ctx.facts = {"a": before}, {"a": after}
    ctx.state.release = Served(ctx.deployment.release.id)
    if touched:
        ctx.state.touched = {"a": touched}
    back = rollback.way_back(ctx)
    step = back.steps.get("a")
    found = "left" if back.left else (step.release.get("id", "removed") if step else None)
    assert found == goes
    if goes == "removed":
        assert step and step.directory is None and step.created.containers == ("a-web",)


def test_a_host_that_was_lost_or_spared_has_no_way_back(working: Any) -> None:
    ctx = working("a", "b", "c")
    known = {host: on_host(ctx, host, "proven") for host in "abc"}
    ctx.before = {host: before for host, (before, _) in known.items()}
    ctx.facts = {host: after for host, (_, after) in known.items() if host != "b"}
    ctx.state.touched = {"a": STARTED, "b": STARTED}
    back = rollback.way_back(ctx)
    assert list(back.steps) == ["a"] and back.id == EARLIER and not back.left
    assert rollback.unreachable(ctx) == ["b"]


def test_a_host_that_was_lost_while_files_were_written_still_serves(working: Any) -> None:
    ctx = working("a")
    ctx.state.touched = {"a": {"render"}}
    assert rollback.unreachable(ctx) == []


def test_a_baseline_is_never_gone_back_to(working: Any) -> None:
    """A candidate's hosts were as they are `before_baseline`, whatever the candidate itself found there."""
    ctx = working("a")
    before, after = on_host(ctx, "a", "proven")
    baseline = earlier(ctx, "a", id="b" * 64)
    ctx.before = {"a": seen("a", baseline, earlier(ctx, "a"), history=[line(EARLIER), line("b" * 64, role="baseline")])}
    ctx.facts, ctx.state.before_baseline, ctx.state.touched = {"a": after}, {"a": before}, {"a": STARTED}
    assert rollback.way_back(ctx).id == EARLIER


def test_on_the_way_back_only_hosts_that_answer_are_changed(working: Any) -> None:
    ctx = working("a", "b")
    back = RollbackPlan({"id": EARLIER}, {host: HostRollback(host, "d", "shop-prod") for host in "ab"})
    ctx.facts = {"b": seen("b")}
    assert list(rollback.reachable(back, ctx).steps) == ["b"]


def test_what_hosts_go_back_to_is_what_the_run_is_about(working: Any) -> None:
    ctx = working("a", command=ROLLBACK, released=False)
    document = earlier(ctx, "a")
    ctx.facts = {"a": seen("a", release_document(ctx.deployment, "a"))}
    plan = rollback.enter(
        ctx, RollbackPlan(document, {"a": HostRollback("a", "d" * 72, "shop-prod", release=document)})
    )
    assert [(change.host, change.stage) for change in plan.operations] == [("a", "rollback")]
    assert ctx.state.release.id == EARLIER == ctx.run.document["release"]["id"] == ctx.names["release"]
    assert ctx.run.document["plan"]["changes"] == [change.as_dict() for change in plan.operations]


MOVED = Migration("1", "2")
DUMP = Backup("a", "x.dump", "/x.dump", 1, "", "2026-03-09T12:00:00Z", "shop", "prod", EARLIER, "1")


def record_of(release: str, revision: str, *, compatible: bool = False) -> dict[str, Any]:
    known = {"release": release, "image": "sha256:x", "revision": revision, "backward_compatible": compatible}
    return {**known, "project": "shop-prod", "time": 1.0}


# Has this run moved the schema, does the stack (or what migrated since) say that the code before runs on it, is
# --restore-database given, is there a backup -> the backup that is restored, an error, or None: the code goes alone.
@pytest.mark.parametrize(
    ("moved", "compatible", "restore", "dumps", "comes"),
    [
        (MOVED, True, False, [DUMP], None),
        (MOVED, True, True, [DUMP], None),
        (MOVED, False, False, [DUMP], ApplyError),
        (MOVED, False, True, [DUMP], DUMP),
        (MOVED, False, True, [], ApplyError),
        (MOVED, False, True, [replace(DUMP, from_release="f" * 64)], ApplyError),
        ("recorded", True, False, [], None),
        ("recorded", False, False, [DUMP], ApplyError),
        ("recorded", False, True, [DUMP], DUMP),
        ("recorded", False, True, [], ApplyError),
        ("still there", False, False, [], None),
        ("unknown", False, False, [], ApplyError),
        ("unknown", False, True, [DUMP], DUMP),
    ],
)
def test_the_database_goes_back_only_where_it_must_and_can(
    moved: Any, compatible: bool, restore: bool, dumps: list[Backup], comes: Any, working: Any, monkeypatch: Any
) -> None:
    stack = MIGRATING.replace("backup: store", f"backup: store, backward_compatible: {str(compatible).lower()}")
    ctx = working("a", stack=stack, restore_database=restore)
    ctx.facts = {"a": seen("a", release_document(ctx.deployment, "a"), earlier(ctx, "a"))}
    known = {
        "recorded": [record_of(EARLIER, "1"), record_of("f" * 64, "2", compatible=compatible)],
        "still there": [record_of(EARLIER, "1"), record_of("f" * 64, "1")],
    }.get(moved if isinstance(moved, str) else "", [])
    monkeypatch.setattr(rollback.backups, "_lines", lambda ctx, host, script: known)
    monkeypatch.setattr(rollback.backups, "_listed", lambda ctx: dumps)
    back = RollbackPlan(earlier(ctx, "a"), {})
    given = moved if isinstance(moved, Migration) else None
    if comes is ApplyError:
        with pytest.raises(ApplyError) as refused:
            rollback.settle_database(ctx, back, given)
        assert refused.value.stage == "rollback"
    else:
        assert rollback.settle_database(ctx, back, given) == comes


@pytest.mark.parametrize("release", [{}, {"id": EARLIER, "environment": "staging"}], ids=["nothing", "another's"])
def test_a_database_that_is_not_gone_back_to_is_left_alone(release: dict[str, Any], working: Any) -> None:
    ctx = working("a", stack=MIGRATING)
    assert rollback.settle_database(ctx, RollbackPlan(release, {}), MOVED) is None


def lacking(ctx: RunContext, *hosts: str) -> RollbackPlan:
    """A way back on hosts of which none has the images."""
    steps = {}
    for host in hosts:
        document = earlier(ctx, host, placed=["web"])
        images = {"web": document["images"]["web"]}
        steps[host] = HostRollback(host, "d", "shop-prod", ("web",), images=images, release=document)
    return RollbackPlan(steps[hosts[0]].release, steps)


def test_hosts_that_cannot_have_their_images_are_left_where_others_go_back(working: Any, monkeypatch: Any) -> None:
    ctx = working("a", "b")
    back = lacking(ctx, "a", "b")
    tagged = back.steps["b"].images["web"]
    ctx.facts = {"a": seen("a"), "b": seen("b", images=(ImageFacts(id=tagged["id"], tags=(tagged["tag"],)),))}
    monkeypatch.setattr(rollback, "images_by_id", lambda wanted: {})
    monkeypatch.setattr(ctx, "observe", lambda: None)
    with pytest.raises(ApplyError):
        rollback.bring_images(ctx, back)
    assert list(rollback.bring_images(ctx, back, leave=True).steps) == ["b"]
    assert ctx.run.document["warnings"][0]["where"] == "a"
    with pytest.raises(ApplyError):  # nobody is left to go back
        rollback.bring_images(ctx, lacking(ctx, "a"), leave=True)


def test_a_lock_that_is_lost_while_images_are_sent_stops_all_of_it(working: Any, monkeypatch: Any) -> None:
    ctx = working("a", "b")
    back = lacking(ctx, "a", "b")
    ctx.facts = {"a": seen("a"), "b": seen("b")}
    monkeypatch.setattr(rollback, "_found", lambda *_: None)

    def lose(*_: Any) -> None:
        raise LockedError("lost")

    monkeypatch.setattr(rollback, "_bring", lose)
    with pytest.raises(LockedError):
        rollback.bring_images(ctx, back, leave=True)
