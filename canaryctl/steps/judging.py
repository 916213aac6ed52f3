"""Probe what hosts serve, and judge it by the environment's rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from canaryctl.config.yamlfile import shown
from canaryctl.errors import HostError
from canaryctl.work import Work

if TYPE_CHECKING:  # the probes bring an HTTP client along, which most commands do without
    from canaryctl.probe.context import ProbeContext
    from canaryctl.probe.measure import Meter
    from canaryctl.probe.results import ProbeResult
    from canaryctl.probe.verdict import Row


def check_probes(work: Work) -> None:
    """Find what is wrong with the probes and the rules before anything is changed.

    Raises:
        ConfigError: names the probe with file and line, or the variable.
    """
    from canaryctl.probe.soak import sampled
    from canaryctl.probe.templates import check_templates
    from canaryctl.probe.verdict import check_rules

    where, context = shown(work.scene.environment.directory), _probe_context(work)
    check_templates(work.scene.probes, context)
    check_rules(work.scene.probes, work.scene.policy, where)
    sampled(work.scene.probes)
    _meter(work, context).check(where)


def probe(work: Work) -> str:
    """Run the probes, once and then for the soak, and judge; returns the verdict.

    A host that SSH lost meanwhile is noted in `failures`.
    """
    from canaryctl.probe.runner import run_probes
    from canaryctl.probe.verdict import gating, judge

    policy, context = work.scene.policy, _probe_context(work)
    work.run.set("rules", policy.rules())
    names = gating(work.scene.probes, policy.gates)
    meter = _meter(work, context)
    results = run_probes(work.scene.probes, context, deadline=policy.probe_deadline, on_event=work.run.event)
    rows: Sequence[ProbeResult] = [replace(result, gates=result.name in names) for result in results]
    _record(work, rows)
    _note_lost(work, rows)
    meter.add(rows)
    meter.scrape()
    if policy.soak and not work.failures:
        first = judge(rows, (), policy)
        if first.verdict == "passed":
            rows = soak(work, rows, context, meter)
        else:
            work.run.note(f"the soak was left out: {', '.join(first.reasons)}")
    baseline = work.baseline["metrics"] if work.baseline else None
    metrics = meter.results(baseline, yardstick=work.run.document["role"] == "baseline")
    work.run.set("metrics", [metric.as_dict() for metric in metrics])
    for metric in metrics:
        work.run.event("metric.finished", **metric.as_dict())
    judged: list[Row] = [*rows, *metrics]
    for row in judged:
        if not row.gates and row.verdict in ("failed", "inconclusive"):
            work.run.warn(f"{row.name}: {row.verdict}, which does not gate: {row.reason}")
    return judge(rows, metrics, policy).verdict


def soak(work: Work, rows: Sequence[ProbeResult], context: ProbeContext, meter: Meter) -> Sequence[ProbeResult]:
    """Repeat the probes that passed until the soak is over or one that gates no longer does; the rows it leaves."""
    from canaryctl.probe.soak import Soak, sampled

    policy = work.scene.policy
    passed = {row.name for row in rows if row.verdict == "passed"}
    gates = {row.name for row in rows if row.gates}
    ends_it = {"failed", "inconclusive"} if policy.inconclusive == "block" else {"failed"}
    soaking = Soak(
        probes=tuple(probe for probe in sampled(work.scene.probes) if probe.name in passed),
        context=context,
        seconds=policy.soak,
        every=policy.soak_every,
        deadline=policy.probe_deadline,
        stops=lambda result: bool(result.unreachable) or (result.name in gates and result.verdict in ends_it),
    )

    def each_round(results: Sequence[ProbeResult]) -> None:
        meter.add(results)
        meter.scrape()

    try:
        soaking.run(each_round, work.run.event)
    finally:  # what an interrupted soak found is worth keeping too
        rows = soaking.applied(rows)
        work.run.set("soak", soaking.as_dict())
        _record(work, rows)
    _note_lost(work, soaking.broken.values())
    return rows


def _record(work: Work, rows: Iterable[ProbeResult]) -> None:
    work.run.probes([row.as_dict() for row in rows])


def _note_lost(work: Work, rows: Iterable[ProbeResult]) -> None:
    for row in rows:
        for host in row.unreachable:
            work.failures[host] = HostError(
                f"the host was lost while '{row.name}' ran", host, "see whether it is up, then probe again"
            )


def _meter(work: Work, context: ProbeContext) -> Meter:
    from canaryctl.probe.measure import Meter

    return Meter({host: policy.metrics for host, policy in work.scene.policies.items()}, context)


def _probe_context(work: Work) -> ProbeContext:
    from canaryctl.probe.context import ProbeContext

    return ProbeContext(
        environment=work.scene.environment.name,
        variables=work.names,
        connections=work.connections,
        project=work.scene.compose_project,
        sudo={host: facts.sudo for host, facts in work.facts.items()},
        scrub=work.run.scrub,
        limit=frozenset(work.facts),
    )
