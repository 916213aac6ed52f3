"""What hosts are told about a change of what they serve, how long it may wait, and who is late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from contexts import MIGRATING, line, notes, release_document, seen, warnings

from canaryctl.config.policy import Policy
from canaryctl.deploy import changes, stages
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.state import Migration
from canaryctl.errors import ApplyError, HostError
from canaryctl.facts.change import ChangeFacts, Serving
from canaryctl.hosts.history import UnwrittenError
from canaryctl.plan.operations.start import StartService
from canaryctl.plan.plan import Plan

Working = Callable[..., RunContext]
OLD = "0" * 64


def serving(ctx: RunContext, *verdicts: str, release: str = OLD) -> None:
    """Hosts serve a release that got these verdicts."""
    for host in ("a", "b"):
        document = release_document(ctx.deployment, host, id=release)
        history = [line(release, verdict, time=f"2026-03-0{n}T12:00:00Z") for n, verdict in enumerate(verdicts, 1)]
        ctx.facts[host] = seen(host, document, history=history)
    ctx.before = dict(ctx.facts)


def test_a_host_goes_back_to_what_it_served_and_had_passed(working: Working) -> None:
    ctx = working()
    serving(ctx, "passed")
    told = changes.orders(ctx, ["a"])
    assert told["a"]["back"] == {"release": f"{OLD}-0", "project": "shop-prod"}
    assert (told["a"]["run"], told["a"]["environment"]) == (ctx.run.id, "prod") and list(told) == ["a"]


@pytest.mark.parametrize("verdicts", [(), ("failed",), ("passed", "failed")])
def test_what_has_not_passed_is_nothing_to_go_back_to(working: Working, verdicts: tuple[str, ...]) -> None:
    ctx = working()
    serving(ctx, *verdicts)
    assert changes.orders(ctx, ["a", "b"])["a"]["back"] is None


def test_a_host_that_served_nothing_goes_back_to_nothing(working: Working) -> None:
    ctx = working()
    ctx.facts = {"a": seen("a")}
    ctx.before = dict(ctx.facts)
    assert changes.orders(ctx, ["a"])["a"]["back"] is None


@pytest.mark.parametrize("compatible", [True, False])
def test_old_code_is_not_put_on_a_schema_that_has_moved(working: Working, compatible: bool) -> None:
    stack = MIGRATING.replace("backup: store}", f"backup: store, backward_compatible: {str(compatible).lower()}}}")
    ctx = working(stack=stack)
    serving(ctx, "passed")
    ctx.state.migration = Migration("0001", "0002")
    told = changes.orders(ctx, ["a"])["a"]
    assert (told["back"] is not None) is compatible and bool(told["why"]) is not compatible


@pytest.mark.parametrize(
    ("policy", "waves", "seconds"),
    [
        (Policy(confirm=30.0), 3, 30.0),
        (Policy(), 1, 180 + 10 + 120),  # start_timeout, the one probe's timeout, and the margin
        (Policy(soak=60.0), 1, 180 + 10 + 60 + 120),
        (Policy(), 3, 3 * (180 + 10) + 120),
        (Policy(probe_deadline=5.0), 1, 180 + 5 + 120),
    ],
)
def test_it_may_wait_as_long_as_a_deploy_may_take(working: Working, policy: Policy, waves: int, seconds: float) -> None:
    ctx = working(policy=policy)
    ctx.state.waves = waves
    assert changes.confirm_seconds(ctx) == seconds


def test_what_takes_its_time_to_stop_is_waited_for_and_told(working: Working) -> None:
    ctx = working()
    before = changes.confirm_seconds(ctx)
    facts = seen("a", running=("worker",))
    ctx.facts = {"a": replace(facts, containers=(replace(facts.containers[0], stop_timeout=600.0),)), "b": seen("b")}
    starting = Plan(tuple(StartService(host, "new", "web") for host in ("a", "b")))
    *_, told = changes.foretold(ctx, starting, 2)
    assert told.startswith("a: ") and "worker 10 m" in told
    assert changes.confirm_seconds(ctx) == before + 590 + 590 + 180 + 10  # one more wave, too
    found = {stage: stages.deadline_of(ctx, stage, 1) for stage in ("render", "restore", "start", "rollback", "down")}
    assert found["down"] == found["render"] + 590 and found["start"] == found["down"] + 180 == found["rollback"]


def test_who_is_late_fails_and_says_that_the_host_went_back(working: Working) -> None:
    ctx = working()
    ctx.state.unconfirmed = {"a", "b"}
    with pytest.raises(ApplyError) as caught:
        changes.require_confirmed(ctx, {"a": "confirmed", "b": "returned"}, {})
    assert caught.value.where == "b" and "gone back" in caught.value.what and caught.value.exit_code == 6
    assert not ctx.state.unconfirmed


def test_a_host_that_cannot_be_told_is_named(working: Working) -> None:
    ctx = working()
    ctx.state.unconfirmed = {"a", "b"}
    with pytest.raises(HostError) as caught:
        changes.require_confirmed(ctx, {"a": "confirmed"}, {"b": HostError("gone", "b")})
    assert caught.value.where == "b" and ctx.state.unconfirmed == {"b"}
    changes.require_confirmed(ctx, {"a": "confirmed"}, {})
    assert any("goes back by itself" in what for what in warnings(ctx))


def test_a_host_that_confirmed_and_had_no_room_for_the_line_does_not_go_back(working: Working) -> None:
    ctx = working()
    ctx.state.unconfirmed = {"a", "b"}
    full = UnwrittenError("the history could not be written: no room", "a", "make room", "confirmed")
    changes.require_confirmed(ctx, {"b": "confirmed"}, {"a": full})
    assert not ctx.state.unconfirmed
    ctx.state.unconfirmed = {"a"}
    with pytest.raises(ApplyError, match=r"could not be confirmed.*no room") as said:  # it answers: it is no lost host
        changes.require_confirmed(ctx, {}, {"a": UnwrittenError("no room", "a", "make room", "")})
    assert (said.value.where, said.value.hint) == ("a", "make room")
    ctx.state.unconfirmed = {"a", "b"}
    with pytest.raises(HostError, match="could not be confirmed"):
        changes.require_confirmed(ctx, {}, {"a": UnwrittenError("no room", "a", "", ""), "b": HostError("gone", "b")})


@pytest.mark.parametrize(
    ("unconfirmed", "failed", "change", "asked"),
    [
        (True, False, None, "this run"),
        (True, True, None, ""),  # what did not start is not to stay
        (False, False, None, ""),
        (False, False, ChangeFacts("other", confirm=9.0, phase="started"), "other"),
        (False, False, ChangeFacts("other", confirm=9.0, phase="returning"), "other"),
        (False, False, ChangeFacts("other", confirm=9.0, phase="confirmed"), ""),
        (False, False, ChangeFacts("other", confirm=9.0, phase="stranded"), "other"),
        (False, False, ChangeFacts("other", confirm=9.0, phase="stranded", back=Serving("r", "p")), ""),
        (False, False, ChangeFacts("other", confirm=None, phase="started"), ""),
    ],
)
def test_what_a_run_confirms(
    working: Working, unconfirmed: bool, failed: bool, change: ChangeFacts | None, asked: str
) -> None:
    """Also what a run before brought, and nobody confirmed: this one has judged it."""
    ctx = working()
    facts = seen("a")
    ctx.facts["a"] = replace(facts, state=replace(facts.state, change=change))
    ctx.state.unconfirmed = {"a"} if unconfirmed else set()
    ctx.state.start_failures = {"a": ApplyError("no", "a")} if failed else {}
    assert changes._open_on(ctx, "a") == (ctx.run.id if asked == "this run" else asked)


def test_who_has_judged_nothing_confirms_what_it_brought_alone(
    working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `start` does, or canary_on_failure: keep where a wave failed; another run's change is on host b."""
    ctx = working("a", "b")
    facts = seen("b")
    other = ChangeFacts("other", confirm=9.0, phase="started")
    ctx.facts = {"a": seen("a"), "b": replace(facts, state=replace(facts.state, change=other))}
    ctx.state.unconfirmed, told = {"a"}, []

    def each(hosts: list[str], work: Any) -> Any:
        told.extend(hosts)
        return dict.fromkeys(hosts, "confirmed"), {}

    monkeypatch.setattr(ctx.fleet, "each", each)
    changes.confirm(ctx)
    assert told == ["a"]


@pytest.mark.parametrize(("on_failure", "stays"), [("rollback", False), ("down", False), ("keep", True)])
def test_a_host_left_behind_stays_as_it_is_only_where_that_is_asked_for(
    working: Working, on_failure: str, stays: bool
) -> None:
    ctx = working(policy=Policy(on_failure=on_failure))
    ctx.state.unconfirmed = {"a"}
    ctx.state.start_failures = {"a": ApplyError("no", "a")}
    assert changes._open_on(ctx, "a") == (ctx.run.id if stays else "")


def test_hosts_that_go_back_are_waited_for(working: Working, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = working()
    facts = seen("a")
    going = replace(facts, state=replace(facts.state, change=ChangeFacts("x", confirm=9.0, phase="returning")))
    ctx.facts["a"] = going
    monkeypatch.setattr(changes, "_LOOK_EVERY", 0.0)
    looks: list[Any] = []

    def observe(**_: Any) -> None:
        looks.append(1)
        ctx.facts["a"] = going if len(looks) < 3 else facts

    monkeypatch.setattr(ctx, "observe", observe)
    changes.wait_for_returns(ctx)
    assert len(looks) == 3 and len([note for note in notes(ctx) if "going back" in note]) == 1


@pytest.mark.parametrize(("phase", "waits"), [("confirmed", False), ("started", True), ("", True)])
def test_who_interrupts_just_after_the_confirmation_is_not_told_that_the_host_goes_back(
    working: Working, monkeypatch: pytest.MonkeyPatch, phase: str, waits: bool
) -> None:
    ctx = working()
    ctx.state.unconfirmed = {"a"}
    monkeypatch.setattr(changes.history, "append", lambda *_, **__: phase)
    changes.give_up(ctx, ctx.fleet.get("a"), {})
    assert ("a" in ctx.state.unconfirmed) is waits
