"""Waiting for GPUs that others use, and what earlier runs found on them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from contexts import notes

from canaryctl.config.policy import Policy
from canaryctl.deploy import gpus
from canaryctl.deploy.context import RunContext
from canaryctl.errors import ApplyError, HostError
from canaryctl.evidence.document import new_document
from canaryctl.plan.gpus import BusyError
from canaryctl.plan.plan import Plan

BUSY = Plan(problems=(BusyError("a job of eve", stage="start", host="a"),))
FREE = Plan()
OTHER = Plan(problems=(ApplyError("no room", stage="push", host="a"),))


class Clock:
    """Stands in for the module `time`: sleeping is what passes time."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, []  # type: ignore[var-annotated]

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    passing = Clock()
    monkeypatch.setattr(gpus, "time", passing)
    return passing


def looking(ctx: RunContext, monkeypatch: pytest.MonkeyPatch, *plans: Plan) -> RunContext:
    """What each further look at the hosts leads to; the last goes on."""
    left = list(plans)
    monkeypatch.setattr(ctx, "observe", lambda: None)
    monkeypatch.setattr(ctx, "plan", lambda: left.pop(0) if len(left) > 1 else left[0])
    return ctx


# canary_busy, seconds to wait, the first plan, the plans after it -> which comes of it, and what was slept
@pytest.mark.parametrize(
    ("busy", "wait", "first", "after", "comes", "slept"),
    [
        ("wait", 60.0, FREE, [BUSY], FREE, []),
        ("wait", 60.0, OTHER, [FREE], OTHER, []),  # time does not fix it
        ("refuse", 60.0, BUSY, [FREE], BUSY, []),
        ("wait", 60.0, BUSY, [FREE], FREE, [10.0]),
        ("wait", 60.0, BUSY, [BUSY, BUSY, FREE], FREE, [10.0, 10.0, 10.0]),
        ("wait", 25.0, BUSY, [BUSY], BUSY, [10.0, 10.0, 5.0]),
        ("wait", 0.0, BUSY, [FREE], BUSY, []),
    ],
)
def test_busy_gpus_are_waited_for_as_long_as_the_policy_says(
    busy: str, wait: float, first: Plan, after: list[Plan], comes: Plan, slept: list[float],
    working: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ctx = looking(working("a", policy=Policy(busy=busy, busy_wait=wait)), monkeypatch, *after)
    assert gpus.wait_for_others(ctx, first) is comes
    assert clock.slept == slept and len(notes(ctx)) == bool(slept)  # said once


def test_the_shortest_patience_counts_and_hosts_go_by_their_own(
    working: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = {"a": Policy(busy="wait", busy_wait=30), "b": Policy(busy="wait", busy_wait=5), "c": Policy()}
    ctx = working("a", "b", "c", policies=policies)
    both = Plan(problems=tuple(BusyError("x", stage="start", host=host) for host in "ab"))
    assert gpus.wait_for_others(looking(ctx, monkeypatch, both), both) is both and clock.slept == [5.0]
    unwilling = Plan(problems=(BusyError("x", stage="start", host="c"),))
    assert gpus.wait_for_others(ctx, unwilling) is unwilling and clock.slept == [5.0]


def test_a_host_that_is_lost_while_it_is_waited_for_ends_the_wait(
    working: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = looking(working("a", policy=Policy(busy="wait")), monkeypatch, FREE)
    monkeypatch.setattr(ctx, "observe", lambda: ctx.state.failures.update(a=HostError("gone", "a")))
    with pytest.raises(HostError):
        gpus.wait_for_others(ctx, BUSY)


def row(name: str, verdict: str, kind: str = "gpu", **found: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "verdict": verdict, "hosts": {"a": {"found": found}}}


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        ([], {}),
        ([[row("Card", "passed", tflops=7)]], {"tflops": 7}),
        ([[row("Card", "passed", tflops=7)], [row("Card", "passed", tflops=9)]], {"tflops": 9}),
        ([[row("Card", "passed", tflops=7)], [row("Card", "failed", tflops=1)]], {"tflops": 7}),
        ([[row("Card", "passed", tflops=7)], [row("Card", "passed")]], {"tflops": 7}),  # it did not measure
        ([[row("Other", "passed", tflops=7)], [row("Card", "passed", "http", tflops=7)]], {}),
        ([[{"name": "Card", "kind": "gpu", "verdict": "passed", "hosts": {"b": {"found": {"tflops": 7}}}}]], {}),
    ],
)
def test_figures_are_compared_with_the_newest_run_that_passed(
    runs: list[list[Any]], found: dict[str, Any], working: Any
) -> None:
    ctx = working("a")
    for number, rows in enumerate(runs):
        folder = ctx.deployment.project.runs / "prod" / f"20261130T08{number:02}00Z-deploy-0000"
        folder.mkdir(parents=True)
        ended = {"finished": "2026-11-30T08:00:00Z", "verdict": "passed", "probes": rows}
        (folder / "run.json").write_text(json.dumps(new_document(id=folder.name, **ended)))
    assert gpus.found_before(ctx, "Card", "a") == found
