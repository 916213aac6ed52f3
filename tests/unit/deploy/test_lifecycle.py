"""What surrounds a command: how it ended, what follows its failure, and the rollback as a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contexts import MIGRATING, line, make_context, make_deployment, notes, release_document, seen, warnings

from canaryctl.config.policy import Policy
from canaryctl.deploy import collection, lifecycle, rollback, signing, stages, verification
from canaryctl.deploy.backups import Backup
from canaryctl.deploy.command import COLLECT, DEPLOY, DOWN, PROBE, PROVISION, ROLLBACK, STAGES, Command
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.outcome import Ended
from canaryctl.deploy.state import Downtime, Migration, Served
from canaryctl.errors import ApplyError, ConfigError, HostError
from canaryctl.evidence.store import load_run
from canaryctl.plan.rollback import HostRollback, RollbackPlan

EARLIER = "e" * 64
BASELINE, CANDIDATE = replace(DEPLOY, role="baseline"), replace(DEPLOY, role="candidate")
ERROR = ApplyError("x")


@pytest.mark.parametrize(
    ("command", "follows", "baseline"),
    [
        (DEPLOY, True, False),
        (CANDIDATE, True, False),
        (BASELINE, True, True),
        *((stage, True, False) for stage in STAGES.values()),
        (PROVISION, True, False),
        (ROLLBACK, False, False),
        (DOWN, False, False),
    ],
    ids=lambda value: value.name if isinstance(value, Command) else "",
)
def test_how_a_run_ended_is_told_by_its_command_and_its_policy(
    command: Command, follows: bool, baseline: bool, working: Any
) -> None:
    ctx = working(command=command, policy=Policy(on_failure="down"))
    assert lifecycle.ended_by(ctx) == Ended(follows, baseline, on_failure="down")


def test_how_a_run_ended_is_told_by_what_has_become_of_it(working: Any) -> None:
    ctx = working()
    ctx.state.verdict, ctx.state.judged, ctx.state.changed = "failed", True, True
    ctx.state.touched, ctx.state.failures = {"a": {"start"}}, {"b": HostError("gone")}
    ctx.state.start_failures = {"a": ERROR}
    assert lifecycle.ended_by(ctx, ERROR) == Ended(
        error=ERROR, verdict="failed", judged=True, changed=True, touched=True, lost=True, left_behind=True,
        on_failure="rollback",
    )  # fmt: skip


@pytest.fixture
def acted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the policy does to the hosts, in order."""
    done: list[str] = []
    monkeypatch.setattr(stages, "down", lambda ctx, volumes: done.append(f"down {volumes}"))
    monkeypatch.setattr(lifecycle, "roll_back", lambda ctx: done.append("rollback"))
    monkeypatch.setattr(RunContext, "observe", lambda self, again=False: done.append(f"observe {again}"))
    return done


@pytest.mark.parametrize(
    ("policy", "does"),
    [
        ("rollback", ["rollback", "observe True"]),
        ("down", ["down False", "observe True"]),
        ("keep", []),
        ("", []),
    ],
)
def test_the_policy_acts_once_and_looks_at_what_it_left(
    policy: str, does: list[str], acted: list[str], working: Any
) -> None:
    ctx = working()
    lifecycle.after_failure(ctx, policy)
    lifecycle.after_failure(ctx, policy)
    assert acted == does and ctx.state.policy_acted is bool(policy)
    assert len(notes(ctx)) == (policy in ("down", "keep"))


@pytest.mark.parametrize("fault", [ApplyError("no room"), RuntimeError("boom")], ids=repr)
def test_a_policy_that_fails_is_a_warning_and_the_hosts_are_looked_at(
    fault: Exception, acted: list[str], working: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = working()

    def fail(ctx: RunContext, *, volumes: bool) -> None:
        raise fault

    monkeypatch.setattr(stages, "down", fail)
    lifecycle.after_failure(ctx, "down")
    assert acted == ["observe True"] and len(warnings(ctx)) == 1


def test_an_interruption_of_the_policy_is_one(acted: list[str], working: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(ctx: RunContext) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lifecycle, "roll_back", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lifecycle.after_failure(working(), "rollback")


# the rollback that follows a failure


class Nested:
    """The rollback's own run: what it was begun with, and what was done in it."""

    def __init__(self) -> None:
        self.contexts: list[RunContext] = []
        self.backups: list[Backup | None] = []
        self.fails: BaseException | None = None

    @property
    def began(self) -> bool:
        return bool(self.contexts)


@pytest.fixture
def nested(monkeypatch: pytest.MonkeyPatch) -> Nested:
    """Real runs; only what would reach a host is replaced."""
    known = Nested()

    def observe(ctx: RunContext, *, again: bool = False) -> None:
        ctx.facts = {"a": seen("a", release_document(ctx.deployment, "a"))}

    def return_to(ctx: RunContext, back: RollbackPlan, backup: Backup | None, *, leave: bool = False) -> None:
        known.contexts.append(ctx)
        known.backups.append(backup)
        assert leave
        if known.fails:
            raise known.fails

    monkeypatch.setattr(RunContext, "observe", observe)
    monkeypatch.setattr(lifecycle, "return_to", return_to)
    return known


@pytest.fixture
def failed(working: Any) -> Callable[..., RunContext]:
    """A deploy that failed on host a, which served a release before."""

    def make(**known: Any) -> RunContext:
        ctx: RunContext = working("a", **known)
        document = release_document(ctx.deployment, "a", id=EARLIER)
        mine = release_document(ctx.deployment, "a")
        ctx.before = {"a": seen("a", document, history=[line(EARLIER)])}
        ctx.facts = {"a": seen("a", mine, document, history=[line(EARLIER)])}
        ctx.state.release, ctx.state.touched = Served(ctx.deployment.release.id), {"a": {"start"}}
        return ctx

    return make


def test_a_rollback_is_a_run_of_its_own_that_names_the_failed_one(failed: Any, nested: Nested) -> None:
    ctx = failed(variant="only", only=("Health",), images={"web": "shop-web:2"}, force_reason="a party", diff=True)
    ctx.state.downtime = [Downtime("a", "web", 12.0, None)]
    lifecycle.roll_back(ctx)
    (again,) = nested.contexts
    assert again.command is ROLLBACK and again.run.id != ctx.run.id
    assert any(ctx.run.id in note for note in notes(again))
    summary = ctx.run.document["rollback"]
    assert (summary["run"], summary["to"], summary["verdict"]) == (again.run.id, EARLIER, "passed")
    stored = load_run(ctx.deployment.project.runs, again.run.id)
    assert stored.document["verdict"] == "passed" and stored.document["follows"]["run"] == ctx.run.id
    way = f"../{ctx.run.id}/report."
    assert all(way + kind in (stored.path / f"report.{kind}").read_text() for kind in ("html", "md"))
    request = again.deployment.request
    assert (request.only, request.images, request.force_reason, request.diff) == ((), {}, None, True)
    assert again.state.stopped == {("a", "web"): 12.0}  # the time out of service goes on
    assert nested.backups == [None]


def test_a_rollback_works_under_the_failed_runs_lock_and_leaves_it(failed: Any, nested: Nested) -> None:
    ctx = failed()
    given_up: list[str] = []

    class Lock:
        def __init__(self) -> None:
            self.fleet = ctx.fleet

        def release(self) -> None:
            given_up.append("given up")

    ctx.fleet.locks = Lock()
    lifecycle.roll_back(ctx)
    assert nested.contexts[0].fleet.locks is ctx.fleet.locks and not given_up
    ctx.__exit__()
    assert given_up == ["given up"]


def test_a_rollback_uses_the_configuration_as_it_was_read(failed: Any, nested: Nested) -> None:
    ctx = failed()
    ctx.deployment.project.stack.write_text("no stack any more")
    lifecycle.roll_back(ctx)
    assert nested.contexts[0].deployment.configuration is ctx.deployment.configuration


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [(ApplyError("unhealthy"), "failed"), (HostError("gone"), "error"), (ConfigError("odd"), "error")],
    ids=repr,
)
def test_a_rollback_that_fails_is_a_warning_of_the_failed_run(
    fault: Exception, verdict: str, failed: Any, nested: Nested
) -> None:
    ctx, nested.fails = failed(), fault
    lifecycle.roll_back(ctx)
    assert ctx.run.document["rollback"]["verdict"] == verdict
    assert ctx.run.document["rollback"]["error"]["what"] and len(warnings(ctx)) == 1


def test_a_rollback_that_is_interrupted_interrupts_the_run(failed: Any, nested: Nested) -> None:
    ctx, nested.fails = failed(), KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        lifecycle.roll_back(ctx)
    assert ctx.run.document["rollback"] is None


def test_without_another_release_that_passed_the_services_are_left(failed: Any, nested: Nested) -> None:
    ctx = failed()
    ctx.before = {"a": seen("a", release_document(ctx.deployment, "a", id=EARLIER))}  # nothing says that it passed
    lifecycle.roll_back(ctx)
    assert not nested.began and [w["where"] for w in ctx.run.document["warnings"]] == ["a"]


def test_what_touched_nothing_that_serves_takes_nothing_back(failed: Any, nested: Nested) -> None:
    ctx = failed()
    ctx.state.touched = {"a": {"render"}}
    lifecycle.roll_back(ctx)
    assert not nested.began and len(notes(ctx)) == 1 and not warnings(ctx)


def test_where_the_only_host_is_lost_nothing_is_said_of_a_rollback(failed: Any, nested: Nested) -> None:
    ctx = failed()
    ctx.facts = {}
    lifecycle.roll_back(ctx)
    assert not nested.began and not notes(ctx) and not warnings(ctx)  # that it may serve nothing is said before


@pytest.mark.parametrize(
    ("migration", "asks"),
    [
        (None, False),
        (Migration("1", "1"), False),
        (Migration("1", "2"), True),
        (Migration(None, "1"), True),
        (Migration("1", None), True),
    ],
)
def test_the_database_is_asked_after_only_where_the_run_has_moved_it(
    migration: Migration | None, asks: bool, failed: Any, nested: Nested, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = failed(stack=MIGRATING)
    ctx.state.migration = migration
    asked: list[Migration | None] = []
    dump = Backup("a", "x.dump")

    def settle(ctx: RunContext, back: RollbackPlan, moved: Migration | None = None) -> Backup | None:
        asked.append(moved)
        return dump

    monkeypatch.setattr(rollback, "settle_database", settle)
    lifecycle.roll_back(ctx)
    assert asked == ([migration] if asks else []) and nested.backups == [dump if asks else None]


def test_a_candidates_rollback_asks_what_the_baseline_has_moved(
    failed: Any, nested: Nested, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = failed(stack=MIGRATING)
    ctx.command, ctx.state.before_baseline = CANDIDATE, ctx.before
    asked: list[Any] = []
    monkeypatch.setattr(rollback, "settle_database", lambda *given: asked.append(given[2]))
    lifecycle.roll_back(ctx)
    assert asked == [None] and nested.began


def test_a_database_that_cannot_come_back_keeps_the_release_where_it_is(failed: Any, nested: Nested) -> None:
    ctx = failed(stack=MIGRATING)
    ctx.state.migration = Migration("1", "2")
    lifecycle.roll_back(ctx)
    assert not nested.began and ctx.run.document["rollback"] is None
    assert "--restore-database" in ctx.run.document["warnings"][0]["hint"]


def test_a_rollback_goes_without_hosts_that_no_longer_answer(failed: Any, nested: Nested, tmp_path: Path) -> None:
    ctx = failed()
    gone = replace(ctx.facts["a"], host="b")
    ctx.deployment = make_deployment(tmp_path, ("a", "b"))
    ctx.before["b"], ctx.facts["b"], ctx.state.touched["b"] = replace(ctx.before["a"], host="b"), gone, {"start"}
    lifecycle.roll_back(ctx)  # only a answers
    changes = nested.contexts[0].run.document["plan"]["changes"]
    assert [change["host"] for change in changes] == ["a"]


# going back


@pytest.mark.parametrize(
    ("release", "probed", "remembered"),
    [
        ({"id": EARLIER, "environment": "prod"}, True, ("rollback", "passed")),
        ({"id": EARLIER, "environment": "staging"}, False, ("rollback", None)),
        ({}, False, ("rollback", None)),
    ],
    ids=["its own", "another's", "nothing"],
)
def test_what_came_back_is_judged_where_it_is_this_environments(
    release: dict[str, Any], probed: bool, remembered: tuple[str, str | None], working: Any, monkeypatch: Any
) -> None:
    ctx = working("a", command=ROLLBACK)
    done: list[str] = []
    lines: list[tuple[str, str | None]] = []
    monkeypatch.setattr(rollback, "go", lambda ctx, back, backup, leave: done.append("go"))
    monkeypatch.setattr(lifecycle, "verify", lambda ctx: done.append("probed"))
    monkeypatch.setattr(collection, "collect", lambda ctx: done.append("collected"))
    monkeypatch.setattr(signing, "settle_rollback", lambda ctx, release: None)
    monkeypatch.setattr(verification, "proven", lambda ctx, serves: ctx.state.verdict)
    monkeypatch.setattr(collection, "remember", lambda ctx, what, verdict=None, **_: lines.append((what, verdict)))
    lifecycle.return_to(ctx, RollbackPlan(release, {"a": HostRollback("a", "d", "shop-prod")}), None)
    assert ctx.state.changed and ctx.run.document["changed_until"]
    assert done == ["go", "probed" if probed else "collected"] and lines == [remembered]


# what surrounds a command


@contextmanager
def at_work(tmp_path: Path, command: Command = DEPLOY, **asked: Any) -> Iterator[RunContext]:
    with lifecycle._recorded(make_deployment(tmp_path, ("a",), **asked), command, ()) as ctx:
        yield ctx


@pytest.mark.parametrize("changed", [True, False])
def test_an_interrupted_run_says_what_it_left(changed: bool, tmp_path: Path) -> None:
    with at_work(tmp_path) as ctx:
        ctx.state.changed = changed
        raise KeyboardInterrupt
    document = load_run(ctx.deployment.project.runs, ctx.run.id).document
    assert (document["verdict"], document["exit_code"]) == ("interrupted", 130)
    assert ("half changed" if changed else "nothing was changed") in document["error"]["hint"]


@pytest.mark.parametrize(
    ("check", "touched", "remembered"), [(False, True, True), (False, False, False), (True, True, False)]
)
def test_an_interruption_is_remembered_where_something_was_touched(
    check: bool, touched: bool, remembered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(collection, "remember_interrupted", lambda ctx, verdict, seconds: told.append(verdict))
    with at_work(tmp_path, check=check) as ctx:
        if touched:
            ctx.state.changed, ctx.state.touched = True, {"a": {"start"}}
        raise KeyboardInterrupt
    assert told == (["interrupted"] if remembered else [])


@pytest.mark.parametrize("command", [PROBE, COLLECT, DEPLOY], ids=lambda command: command.name)
def test_a_run_that_ends_in_order_is_recorded_with_its_verdict(command: Command, tmp_path: Path) -> None:
    with at_work(tmp_path, command) as ctx:
        ctx.state.verdict = "inconclusive"
    document = load_run(ctx.deployment.project.runs, ctx.run.id).document
    assert (document["command"], document["verdict"], document["exit_code"]) == (command.name, "inconclusive", 4)


def test_a_host_that_was_lost_is_the_runs_error_before_those_left_behind(tmp_path: Path) -> None:
    with at_work(tmp_path) as ctx:
        ctx.state.start_failures = {"a": ApplyError("unhealthy")}
        ctx.state.failures = {"b": HostError("gone", "b")}
    assert (ctx.run.document["verdict"], ctx.run.document["exit_code"]) == ("failed", 3)
    assert ctx.run.document["error"]["what"] == "gone"


def test_a_rehearsal_leaves_no_run(tmp_path: Path) -> None:
    with at_work(tmp_path, check=True) as ctx:
        pass
    assert not ctx.run.path.exists() and not ctx.deployment.project.runs.exists()
    assert ctx.run.document["directory"] == ""


def test_what_only_looks_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = make_deployment(tmp_path, ("a",), released=False)
    looked: list[str] = []
    monkeypatch.setattr(lifecycle, "load_deployment", lambda request: deployment)
    monkeypatch.setattr(lifecycle.promotion, "promote", lambda ctx, fetch: looked.append(f"promote {fetch}"))
    monkeypatch.setattr(RunContext, "check", lambda self: looked.append("check"))
    monkeypatch.setattr(RunContext, "observe", lambda self: looked.append("observe"))
    with lifecycle.unrecorded(deployment.request) as ctx:
        assert ctx.run.path.exists()
    assert looked == ["promote False", "check", "observe"]
    assert not ctx.run.path.exists() and not ctx.scratch.exists() and not deployment.project.runs.exists()


def test_a_context_leaves_nothing_behind(tmp_path: Path) -> None:
    with make_context(make_deployment(tmp_path)) as ctx:
        (ctx.scratch / "secrets.env").write_text("TOKEN=x")
    assert not ctx.scratch.exists()
