"""How long services did not serve, over a run and its rollback: in the record, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from contexts import seen

from canaryctl.deploy import downtime
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.state import Downtime, Served
from canaryctl.facts import HostFacts
from canaryctl.facts.change import ChangeFacts
from canaryctl.plan.operations.start import MakeCurrent, StartService
from canaryctl.plan.plan import Plan

KEY = ("a", "web")


@pytest.fixture
def ctx(working: Any) -> RunContext:
    made: RunContext = working("a", "b")
    made.before = {"a": seen("a", running=["web"]), "b": seen("b")}
    return made


@pytest.mark.parametrize(
    ("stopped", "gap", "spans"),
    [
        ({}, {"from": 5.0, "until": 7.0}, [(5.0, 7.0)]),
        ({}, {"from": 5.0, "until": None}, [(5.0, None)]),
        ({}, {"from": None, "until": 7.0}, []),  # it did not serve before
        # It serves when the rollback begins: it came back meanwhile.
        ({KEY: 1.0}, {"from": 5.0, "until": 7.0}, [(5.0, 7.0)]),
        ({("b", "web"): 1.0}, {"from": None, "until": 7.0, "since": None}, []),
        # It does not.
        ({KEY: 1.0}, {"from": None, "until": 7.0, "since": None}, [(1.0, 7.0)]),
        ({KEY: 1.0}, {"from": 2.0, "until": 7.0, "since": 2.0}, [(1.0, 7.0)]),
        ({}, {"from": 2.0, "until": 7.0, "since": 2.0}, [(2.0, 7.0)]),
        # Something else has stopped it, a restore of the database say, and it ran when the run began.
        ({}, {"from": None, "until": 7.0, "since": 3.0}, [(3.0, 7.0)]),
    ],
)
def test_downtime_begins_where_the_service_stopped(stopped: Any, gap: Any, spans: Any, ctx: RunContext) -> None:
    ctx.state.stopped = stopped
    downtime.record(ctx, "a", {"web": gap})
    assert [(one.began, one.until) for one in ctx.state.downtime] == spans
    assert ctx.run.document["gaps"] == [entry.as_dict() for entry in ctx.state.downtime]


def test_what_did_not_run_when_the_run_began_has_no_downtime(ctx: RunContext) -> None:
    gaps = {"store": {"from": None, "until": 7.0, "since": 3.0}}
    downtime.record(ctx, "a", gaps)
    assert ctx.state.downtime == []
    ctx.state.served = {("a", "store")}  # when the run that failed began, it did
    downtime.record(ctx, "a", gaps)
    assert [one.seconds for one in ctx.state.downtime] == [4.0]


def test_what_the_release_has_no_more_is_not_meant_to_come_back(ctx: RunContext) -> None:
    ctx.state.release = Served("r", services={"web": "web"})
    downtime.record(ctx, "a", {"web": {"from": 1.0, "until": 2.0}, "jobs": {"from": 1.0, "until": None}})
    assert [gap["service"] for gap in ctx.run.document["gaps"]] == ["web"]
    assert {gap.service for gap in ctx.state.downtime} == {"web", "jobs"}  # a rollback brings it back


def test_only_what_is_away_goes_on_in_a_rollback(ctx: RunContext, working: Any) -> None:
    ctx.state.downtime = [Downtime("a", "web", 10.0, None), Downtime("a", "store", 10.0, 16.0)]
    again: RunContext = working("a", "b")
    downtime.hand_on(ctx, again)
    assert again.state.stopped == {KEY: 10.0} and again.state.served == {KEY}


WEB, STORE = Downtime("a", "web", 10.0, None), Downtime("a", "store", 10.0, 16.0)


@pytest.mark.parametrize(
    ("back", "passed", "told"),
    [
        ([Downtime("a", "web", 10.0, 67.5)], True, {"web": 57.5, "store": 6.0}),
        ([Downtime("a", "web", 10.0, 67.5), Downtime("a", "store", 60.0, 62.0)], True, {"web": 57.5, "store": 8.0}),
        ([], True, {"store": 6.0}),  # it has never been away
        ([], False, {"web": None, "store": 6.0}),
        ([Downtime("a", "web", 10.0, None)], False, {"web": None, "store": 6.0}),
    ],
)
def test_the_failed_run_tells_the_whole_time_away(
    back: Sequence[Downtime], passed: bool, told: Any, ctx: RunContext, working: Any
) -> None:
    ctx.state.downtime = [STORE, WEB]
    again: RunContext = working("a", "b")
    again.state.downtime = list(back)
    whole = downtime.take_back(ctx, again, passed=passed)
    assert ctx.run.document["gaps"] == [gap.as_dict() for gap in whole]
    words = [f"{service} {seconds} s" for service, seconds in told.items() if seconds is not None]
    words += [f"{service} has not come back" for service, seconds in told.items() if seconds is None]
    assert downtime.words(whole) == f"out of service meanwhile: {', '.join(sorted(words))}"


def test_each_service_is_told_of_the_host_where_it_was_away_longest() -> None:
    gaps = [Downtime("a", "web", 0, 2.0), Downtime("b", "web", 1.0, 6.5), Downtime("a", "web", 9.0, 10.0)]
    assert downtime.words(gaps) == "out of service meanwhile: web 5.5 s"
    assert downtime.words([*gaps, Downtime("a", "web", 0, None)]).endswith(": web has not come back")
    assert downtime.words([]) == "no service was out of service"


def test_an_operator_reads_how_long_it_took_beside_the_last_time(ctx: RunContext) -> None:
    downtime.tell(ctx)
    assert ctx.run.document["notes"] == []
    ctx.state.downtime = [
        Downtime("a", "web", 0, 2.0, 1.5),
        Downtime("b", "web", 0, 2.5),
        Downtime("a", "db", 0, 4.0, 3),
    ]
    downtime.tell(ctx)
    (said,) = ctx.run.document["notes"]
    assert said == "out of service meanwhile: db 4.0 s (the last time 3.0 s), web 2.5 s"


def changed(host: str, phase: str = "confirmed", **replaced: float) -> HostFacts:
    facts = seen(host, running=["web"])
    return replace(facts, state=replace(facts.state, change=ChangeFacts(phase=phase, replaced=replaced)))


def test_what_the_last_replacement_took_is_foretold(ctx: RunContext) -> None:
    ctx.before = {"a": changed("a", web=2.0, store=9.0), "b": changed("b", web=3.25)}
    starts = (MakeCurrent("a", "", "r"), *(StartService(host, "another image", "web") for host in ("b", "c")))
    (said,) = downtime.foretold(ctx, Plan(starts))
    assert said.endswith("the last time: store 9.0 s, web 3.2 s")
    assert downtime.foretold(ctx, Plan()) == downtime.foretold(ctx, Plan(starts[2:])) == []
    downtime.record(ctx, "a", {"web": {"from": 5.0, "until": 7.5}})
    assert ctx.run.document["gaps"][0]["foretold"] == 2.0
    ctx.before = {"a": changed("a", "failed", web=40.0)}
    assert downtime.foretold(ctx, Plan(starts)) == []
