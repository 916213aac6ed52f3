"""Which hosts start, which are held back, and what stops a release on its way through the waves.

Ansible and the probes are replaced by what they would answer.
"""

from __future__ import annotations

from typing import Any

import pytest
from contexts import notes, seen, warnings

from canaryctl.config.policy import Policy
from canaryctl.deploy import stages, verification, waves
from canaryctl.deploy.context import RunContext
from canaryctl.errors import ApplyError, CanaryError, ConfigError, GateError, HostError, UnjudgedError
from canaryctl.plan.operations.start import StartService
from canaryctl.plan.plan import Plan
from canaryctl.probe.results import ProbeResult
from canaryctl.probe.verdict import Judgement

HOSTS = ("a", "b", "c", "d", "e")  # in waves of two behind the gate: a | b c | d e
PASSED, FAILED = Judgement("passed"), Judgement("failed", ("Health (failed)",))
UNSURE = Judgement("inconclusive", ("Health (inconclusive)",))
BROKEN = ApplyError("not healthy", stage="start", hint="see its log")
GONE = HostError("no answer", "x")
TWO = Policy(serial=(1, 2))


class Fleet:
    """What starting and probing would answer, and what was asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, faults: dict[str, CanaryError], found: Judgement) -> None:
        self.started: list[str] = []
        self.probed: list[str] = []
        self.faults, self.found = faults, found
        monkeypatch.setattr(stages, "start", self.start)
        monkeypatch.setattr(verification, "gate", self.gate)
        monkeypatch.setattr(verification, "check_probes", lambda ctx: None)

    def start(self, ctx: RunContext, hosts: Any, plan: Plan) -> dict[str, CanaryError]:
        self.started += hosts
        return {host: self.faults[host] for host in hosts if host in self.faults}

    def gate(self, ctx: RunContext, hosts: Any) -> tuple[Judgement, list[ProbeResult]]:
        self.probed += hosts
        verdict: Any = self.found.verdict
        return self.found, [ProbeResult("Health", "http", verdict, ""), ProbeResult("Store", "tcp", "skipped", "")]


@pytest.fixture
def run(working: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Start on all hosts: what became of the context and the fleet, and what it raised."""

    def start(
        policy: Policy, faults: dict[str, CanaryError] | None = None, found: Judgement = PASSED, **asked: Any
    ) -> tuple[RunContext, Fleet, CanaryError | None]:
        ctx, fleet = working(*HOSTS, policy=policy, **asked), Fleet(monkeypatch, faults or {}, found)
        ctx.facts = {host: seen(host) for host in HOSTS}
        try:
            waves.start(ctx, HOSTS, Plan())
        except CanaryError as error:
            return ctx, fleet, error
        return ctx, fleet, None

    return start


def rows(ctx: RunContext) -> list[tuple[str, str | None, str]]:
    """The waves as recorded: hosts, verdict, and those that failed."""
    return [("".join(row["hosts"]), row["verdict"], "".join(row["failed"])) for row in ctx.run.document["waves"]]


# policy, what starting answers, the gate's verdict -> error, hosts started, held back, left behind, waves as recorded
TABLE: dict[str, tuple[Policy, dict[str, CanaryError], Judgement, type | None, str, str, str, list[Any]]] = {
    "all at once": (Policy(), {}, PASSED, None, "abcde", "", "", [("abcde", "passed", "")]),
    "all at once, one fails": (
        Policy(), {"c": BROKEN}, PASSED, ApplyError, "abcde", "", "", [("abcde", "failed", "c")],
    ),
    "all at once, one may fail": (
        Policy(max_fail_percentage=20), {"c": BROKEN}, PASSED, None, "abcde", "", "c", [("abcde", "failed", "c")],
    ),
    "in waves": (
        TWO, {}, PASSED, None, "abcde", "", "", [("a", "passed", ""), ("bc", "passed", ""), ("de", "passed", "")],
    ),
    "the gate does not start": (
        TWO, {"a": BROKEN}, PASSED, ApplyError, "a", "bcde", "", [("a", "failed", "a"), ("bc", None, ""),
        ("de", None, "")],
    ),
    "the gate does not start, whatever may fail": (
        Policy(serial=(1, 2), max_fail_percentage=100), {"a": BROKEN}, PASSED, ApplyError, "a", "bcde", "",
        [("a", "failed", "a"), ("bc", None, ""), ("de", None, "")],
    ),
    "the gate fails": (
        TWO, {}, FAILED, GateError, "a", "bcde", "", [("a", "failed", ""), ("bc", None, ""), ("de", None, "")],
    ),
    "the gate cannot judge": (
        TWO, {}, UNSURE, UnjudgedError, "a", "bcde", "", [("a", "inconclusive", ""), ("bc", None, ""),
        ("de", None, "")],
    ),
    "a later wave fails": (
        TWO, {"b": BROKEN}, PASSED, ApplyError, "abc", "de", "", [("a", "passed", ""), ("bc", "failed", "b"),
        ("de", None, "")],
    ),
    "half of a later wave may fail": (
        Policy(serial=(1, 2), max_fail_percentage=50), {"b": BROKEN}, PASSED, None, "abcde", "", "b",
        [("a", "passed", ""), ("bc", "failed", "b"), ("de", "passed", "")],
    ),
    "all of a later wave may not": (
        Policy(serial=(1, 2), max_fail_percentage=100), {"b": BROKEN, "c": BROKEN}, PASSED, ApplyError, "abc", "de",
        "", [("a", "passed", ""), ("bc", "failed", "bc"), ("de", None, "")],
    ),
    "the last wave fails": (
        TWO, {"e": BROKEN}, PASSED, ApplyError, "abcde", "", "", [("a", "passed", ""), ("bc", "passed", ""),
        ("de", "failed", "e")],
    ),
    "a host is lost": (
        TWO, {"b": GONE}, PASSED, HostError, "abc", "de", "", [("a", "passed", ""), ("bc", "failed", "b"),
        ("de", None, "")],
    ),
    "a host that is lost may be": (
        Policy(serial=(1, 2), max_fail_percentage=50), {"b": GONE}, PASSED, None, "abcde", "", "b",
        [("a", "passed", ""), ("bc", "failed", "b"), ("de", "passed", "")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_who_starts_and_who_is_held_back(case: str, run: Any) -> None:
    policy, faults, found, error, started, held_back, left_behind, recorded = TABLE[case]
    ctx, fleet, raised = run(policy, faults, found)
    assert (type(raised) if raised else None) is error
    assert "".join(fleet.started) == started and "".join(ctx.state.held_back) == held_back
    assert "".join(ctx.state.start_failures) == left_behind and rows(ctx) == recorded
    lost = {host for host, fault in faults.items() if isinstance(fault, HostError) and host in left_behind}
    assert set(ctx.state.failures) == lost
    if error and held_back:
        assert ", ".join(held_back) in raised.hint


def test_the_gate_is_judged_on_the_hosts_that_are_reached_alone(run: Any) -> None:
    ctx, fleet, _ = run(TWO)
    assert fleet.probed == ["a"]
    assert ctx.run.document["waves"][0]["probes"] == ["Health"]  # without those that had no host there
    assert any("the gate passed on a" in note for note in notes(ctx))


def test_hosts_that_had_nothing_to_start_are_judged_with_the_gate(
    working: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, fleet = working(*HOSTS, policy=TWO), Fleet(monkeypatch, {}, PASSED)
    ctx.facts = {host: seen(host) for host in HOSTS}
    waves.start(ctx, HOSTS[1:], Plan())
    assert fleet.started == list(HOSTS[1:]) and fleet.probed == ["a", "b"]


def test_a_host_of_the_gate_that_the_probes_lose_stops_the_rest(working: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, fleet = working(*HOSTS, policy=TWO), Fleet(monkeypatch, {}, FAILED)
    ctx.facts = {host: seen(host) for host in HOSTS}

    def gate(ctx: RunContext, hosts: Any) -> tuple[Judgement, list[ProbeResult]]:
        ctx.state.failures["a"] = GONE
        return FAILED, []

    monkeypatch.setattr(verification, "gate", gate)
    with pytest.raises(HostError):
        waves.start(ctx, HOSTS, Plan())
    assert fleet.started == ["a"] and ctx.state.held_back == ("b", "c", "d", "e")


def test_faulty_probes_of_a_gate_come_to_light_before_any_host_starts(
    working: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, fleet = working(*HOSTS, policy=TWO), Fleet(monkeypatch, {}, PASSED)

    def refuse(ctx: RunContext) -> None:
        raise ConfigError("no such probe")

    monkeypatch.setattr(verification, "check_probes", refuse)
    with pytest.raises(ConfigError):
        waves.start(ctx, HOSTS, Plan())
    assert not fleet.started and not ctx.run.document["waves"]


def test_an_interruption_leaves_the_times_of_its_wave(working: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = working(*HOSTS, policy=TWO)
    Fleet(monkeypatch, {}, PASSED)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        waves.start(ctx, HOSTS, Plan())
    first, *others = ctx.run.document["waves"]
    assert first["started"] and first["finished"] and not any(row["started"] for row in others)


def test_a_rehearsal_starts_all_at_once(run: Any) -> None:
    ctx, fleet, _ = run(TWO, check=True)
    assert rows(ctx) == [("abcde", "passed", "")] and not fleet.probed


def test_what_is_foretold_is_what_is_done(working: Any) -> None:
    ctx = working(*HOSTS, policy=TWO)
    starting = Plan(tuple(StartService(host, "new", "web") for host in HOSTS))
    (said,) = waves.foretold(ctx, starting)
    assert "a (the gate); b, c; d, e" in said
    assert waves.foretold(ctx, Plan()) == [] and waves.foretold(ctx, Plan(starting.operations[:1])) == []


@pytest.mark.parametrize("verdict", ["passed", "failed", "inconclusive"])
def test_hosts_that_were_left_behind_fail_the_run_whatever_the_probes_say(verdict: str, run: Any) -> None:
    ctx, _, _ = run(Policy(max_fail_percentage=50), {"b": BROKEN, "c": GONE})
    ctx.state.verdict = verdict
    waves.end(ctx)
    assert ctx.state.verdict == "failed" and waves.error_of(ctx) is BROKEN
    assert len(warnings(ctx)) == 2


def test_where_all_started_the_verdict_is_the_probes(run: Any) -> None:
    ctx, _, _ = run(TWO)
    waves.end(ctx)
    assert ctx.state.verdict == "passed" and waves.error_of(ctx) is None
