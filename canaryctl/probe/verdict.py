"""The rules of a verdict as a pure function: which rows gate, what they say together, and what holds it back."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from canaryctl.config.policy import Policy
from canaryctl.config.probes import Probe, needed_by
from canaryctl.errors import ConfigError


class Row(Protocol):
    """What a verdict is made of: the result of a probe or of a metric."""

    @property
    def name(self) -> str:
        """Its name in the table."""

    @property
    def verdict(self) -> str:
        """passed, failed, inconclusive or skipped."""

    @property
    def reason(self) -> str:
        """Why it has this verdict."""

    @property
    def gates(self) -> bool:
        """Whether it counts."""


@dataclass(frozen=True)
class Judgement:
    """The verdict over all rows; `reasons` name what keeps it from passing, the decisive ones first."""

    verdict: Literal["passed", "failed", "inconclusive"]
    reasons: tuple[str, ...] = ()


def judge(probes: Sequence[Row], metrics: Sequence[Row], policy: Policy) -> Judgement:
    """The verdict over probes and metrics. Only those that gate count.

    Any failure fails. Where the policy blocks on it, any inconclusive row makes it inconclusive. Where no probe that
    gates passed, nothing was proven, which is inconclusive under any policy.
    """
    rows = [row for row in (*probes, *metrics) if row.gates]
    failed = [row for row in rows if row.verdict == "failed"]
    unsure = [row for row in rows if row.verdict == "inconclusive" and policy.inconclusive == "block"]
    reasons = tuple(f"{row.name} ({row.verdict})" for row in (*failed, *unsure))
    if failed:
        return Judgement("failed", reasons)
    if not any(row.verdict == "passed" and row.gates for row in probes):
        return Judgement("inconclusive", (*reasons, "no probe that gates passed"))
    return Judgement("inconclusive", reasons) if unsure else Judgement("passed")


def gating(probes: Sequence[Probe], wanted: Collection[str]) -> frozenset[str]:
    """Names of the probes that gate: those named or tagged in `wanted` (all where it is empty), and what they need."""
    chosen = {probe.name for probe in probes if not wanted or probe.name in wanted or set(probe.tags) & set(wanted)}
    return frozenset(chosen.union(*(needed_by(probe, probes) for probe in probes if probe.name in chosen)))


def check_rules(probes: Sequence[Probe], policy: Policy, where: str) -> None:
    """Check that every probe and tag which the policy speaks of exists.

    Raises:
        ConfigError: names the variable and the nearest name there is.
    """
    names = [probe.name for probe in probes]
    tags = sorted({tag for probe in probes for tag in probe.tags})
    for gate in policy.gates:
        _check_name("canary_gates", gate, [*names, *tags], "probe or tag", where)
    for metric in policy.metrics:
        if metric.probe is not None:
            _check_name(f"canary_metrics '{metric.name}'", metric.probe, names, "probe", where)


def _check_name(variable: str, name: str, known: Sequence[str], what: str, where: str) -> None:
    if name in known:
        return
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"there are: {', '.join(known)}"
    raise ConfigError(f"{variable} names '{name}', which is no {what}", where, hint)
