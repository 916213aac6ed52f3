"""Probe what hosts serve, and judge it by the environment's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from canaryctl.config.durations import now
from canaryctl.config.yamlfile import shown
from canaryctl.deploy import gpus
from canaryctl.deploy.command import PROBE
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.proof import parts_left_out
from canaryctl.errors import CanaryError, HostError, OtherReleaseError
from canaryctl.evidence.store import runs_under_way
from canaryctl.facts.host import HostFacts
from canaryctl.hosts import interpreter
from canaryctl.plan.definitions import not_running, other_definitions

if TYPE_CHECKING:  # the probes bring an HTTP client along, which most commands do without
    from canaryctl.config.probes import Probe
    from canaryctl.probe.context import ProbeContext
    from canaryctl.probe.measure import Meter
    from canaryctl.probe.results import ProbeResult
    from canaryctl.probe.verdict import Judgement, Row


def check_probes(ctx: RunContext) -> None:
    """Find what is wrong with the probes and the rules before anything is changed.

    Raises:
        ConfigError: names the probe with file and line, or the variable.
    """
    from canaryctl.probe.check import check_probes
    from canaryctl.probe.soak import sampled
    from canaryctl.probe.verdict import check_rules

    where, context = shown(ctx.deployment.environment.directory), probe_context(ctx)
    # Those that --skip leaves out have to be right as well: their fault would wait for the next deploy.
    check_probes(ctx.deployment.configuration.probes, context)
    check_rules(ctx.deployment.configuration.probes, ctx.deployment.policy, where)
    sampled(ctx.deployment.configuration.probes)
    _meter(ctx, context).check(where)


def probe(ctx: RunContext) -> str:
    """Run the probes, once and then for the soak, and judge; returns the verdict.

    A host that SSH lost meanwhile is noted in `failures`.
    """
    return record(ctx, run(ctx, ctx.run.event), soaked=True)


def gate(ctx: RunContext, hosts: Sequence[str]) -> tuple[Judgement, list[ProbeResult]]:
    """Run the probes on these hosts alone and judge; those with no host there are skipped.

    Rows that hold the release back are recorded as the run's probes: no others will follow.
    """
    from canaryctl.probe.verdict import gating, judge

    in_flight = dict.fromkeys(ctx.state.in_flight)  # judged when the deploy is over
    context = replace(probe_context(ctx), limit=frozenset(hosts), in_flight=in_flight)
    names = gating(ctx.deployment.configuration.probes, ctx.deployment.policy.gates)
    rows = [replace(row, gates=row.name in names) for row in run(ctx, ctx.run.event, context)]
    found = judge(rows, (), ctx.deployment.policy)
    if found.verdict != "passed":
        _record(ctx, rows)
    _note_lost(ctx, rows)
    return found, rows


def run(ctx: RunContext, on_event: Callable[..., None], context: ProbeContext | None = None) -> list[ProbeResult]:
    """Run the probes that --only and --skip leave, once; `on_event` is told what goes on."""
    from canaryctl.probe.runner import run_probes

    ctx.run.set("probed_from", now())
    try:
        deadline = ctx.deployment.policy.probe_deadline
        return run_probes(
            _chosen(ctx),
            context or replace(probe_context(ctx), in_flight=ctx.state.in_flight),
            deadline=deadline,
            on_event=on_event,
        )
    finally:
        ctx.run.set("probed_until", now())


def record(ctx: RunContext, results: Sequence[ProbeResult], *, soaked: bool = False) -> str:
    """Record what one pass found, go on with the soak if it is to be, and judge by the rules; returns the verdict."""
    from canaryctl.probe.verdict import gating, judge

    policy, context = ctx.deployment.policy, probe_context(ctx)
    ctx.run.set("rules", policy.rules())
    names = gating(ctx.deployment.configuration.probes, policy.gates)
    meter = _meter(ctx, context)
    rows: Sequence[ProbeResult] = [replace(result, gates=result.name in names) for result in results]
    _record(ctx, rows)
    _note_lost(ctx, rows)
    meter.add(rows)
    meter.scrape()
    if soaked and policy.soak and not ctx.state.failures:
        first = judge(rows, (), policy)
        if first.verdict == "passed":
            rows = soak(ctx, rows, context, meter)
        else:
            ctx.run.note(f"the soak was left out: {', '.join(first.reasons)}")
    baseline = ctx.state.yardstick["metrics"] if ctx.state.yardstick else None
    metrics = meter.results(baseline, yardstick=ctx.command.is_baseline)
    ctx.run.set("metrics", [metric.as_dict() for metric in metrics])
    for metric in metrics:
        ctx.run.event("metric.finished", **metric.as_dict())
    judged: list[Row] = [*rows, *metrics]
    for row in judged:
        if not row.gates and row.verdict in ("failed", "inconclusive"):
            ctx.run.warn(f"{row.name}: {row.verdict}, which does not gate: {row.reason}")
    return judge(rows, metrics, policy).verdict


def proven(ctx: RunContext, serves: str | None = None) -> str:
    """The verdict as the hosts' history has it: a pass of only a part is `partial`, and proves no release.

    Args:
        serves: the id of the release that all hosts with services must serve, where it is not the plan that saw to it.
    """
    left_out = parts_left_out(ctx.deployment)
    left_out += [f"{host} was lost" for host in ctx.state.failures]
    left_out += [f"{host} serves another release" for host in _others(ctx, serves)] if serves else []
    if ctx.state.verdict == "passed" and left_out:
        ctx.run.note(f"this proves no release for promotion: {', '.join(left_out)}")
    return "partial" if ctx.state.verdict == "passed" and (left_out or ctx.state.partial) else ctx.state.verdict


def _others(ctx: RunContext, release: str) -> list[str]:
    """Hosts that should have services and serve another release, or none."""
    of = ctx.deployment.environment.name
    served = {
        host: facts.state.current_release or {} for host, facts in ctx.facts.items() if host in ctx.deployment.placed
    }
    return [host for host, found in served.items() if (found.get("id"), found.get("environment")) != (release, of)]


def require_running(ctx: RunContext) -> None:
    """Let nothing pass that does not run: a service that ended, or is of another definition, fails the verdict.

    So does a Docker that does not say. Looks at the facts that the collected evidence came with. A host that serves
    another environment has its own say. `canaryctl probe` brings nothing, and judges what it is asked to alone: there
    a service that ended is what its probes say of it.
    """
    others = []
    for host, facts in ctx.facts.items():
        current, release = facts.state.current, facts.state.current_release or {}
        if (
            host in ctx.state.held_back
            or host in ctx.state.start_failures
            or host in ctx.state.failures
            or current is None
        ):
            continue
        wanted = ctx.targets[host].rendering.directory if host in ctx.targets else current
        if current != wanted:
            change = facts.state.change
            why = f": {change.words(facts.time)}" if change and change.id == ctx.run.id and change.went_back else ""
            others.append(f"{host}: {current[:12]} is current, not {wanted[:12]}{why}")
        elif release.get("environment") == ctx.deployment.environment.name:
            others += [f"{host}: {how}" for how in _not_as_released(ctx, facts, current)]
    if not others:
        return
    hosts = ", ".join(dict.fromkeys(one.partition(":")[0] for one in others))
    ctx.state.other_release = OtherReleaseError(
        f"not everything runs what was to be judged, as seen in collect: {'; '.join(others)}",
        hosts,
        "deploy again: what does not run, or is of another definition, is made anew",
    )
    ctx.state.verdict = "failed"
    ctx.run.warn(ctx.state.other_release.what, hosts, ctx.state.other_release.hint)


def _not_as_released(ctx: RunContext, facts: HostFacts, current: str) -> list[str]:
    project, target = ctx.deployment.compose_project, ctx.targets.get(facts.host)
    found = other_definitions(facts, project, current)
    docker = facts.docker if ctx.command != PROBE else None
    if docker and not docker.running:
        return ["Docker does not answer, so what runs is not known"]
    if docker:
        found = {**not_running(facts, project, target.rendering.services if target else None), **found}
    return [f"{service} {how}" for service, how in sorted(found.items())]


def _chosen(ctx: RunContext) -> tuple[Probe, ...]:
    """The probes that --only and --skip leave; the record says what they left out."""
    selection = ctx.deployment.selection
    if selection.note and not ctx.state.partial:
        ctx.state.partial = True
        ctx.run.set("partial", True)
        ctx.run.note(selection.note)
    return selection.probes


def soak(ctx: RunContext, rows: Sequence[ProbeResult], context: ProbeContext, meter: Meter) -> Sequence[ProbeResult]:
    """Repeat the probes that passed until the soak is over or one that gates no longer does; the rows it leaves."""
    from canaryctl.probe.soak import Soak, sampled

    policy = ctx.deployment.policy
    passed = {row.name for row in rows if row.verdict == "passed"}
    gates = {row.name for row in rows if row.gates}
    ends_it = {"failed", "inconclusive"} if policy.inconclusive == "block" else {"failed"}
    soaking = Soak(
        probes=tuple(probe for probe in sampled(ctx.deployment.configuration.probes) if probe.name in passed),
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
        soaking.run(each_round, ctx.run.event)
    finally:  # what an interrupted soak found is worth keeping too
        ctx.run.set("probed_until", now())
        rows = soaking.applied(rows)
        ctx.run.set("soak", soaking.as_dict())
        _record(ctx, rows)
    _note_lost(ctx, soaking.lost)
    return rows


def _record(ctx: RunContext, rows: Iterable[ProbeResult]) -> None:
    ctx.run.probes([row.as_dict() for row in rows])


def _note_lost(ctx: RunContext, rows: Iterable[ProbeResult]) -> None:
    for row in rows:
        for host in row.unreachable:
            ctx.state.failures[host] = HostError(
                f"the host was lost while '{row.name}' ran", host, "see whether it is up, then probe again"
            )


def _meter(ctx: RunContext, context: ProbeContext) -> Meter:
    from canaryctl.probe.measure import Meter

    return Meter({host: policy.metrics for host, policy in ctx.deployment.policies.items()}, context)


def probe_context(ctx: RunContext) -> ProbeContext:
    """What probes run in, for the hosts of this run."""
    from canaryctl.probe.context import ProbeContext

    release = ctx.state.release
    images = {name: image.get("id") or "" for name, image in release.images.items()}
    return ProbeContext(
        environment=ctx.deployment.environment.name,
        variables=ctx.names,
        connections=ctx.fleet,
        project=ctx.deployment.compose_project,
        sudo={host: facts.sudo for host, facts in ctx.facts.items()},
        python={host: interpreter(ctx.deployment.environment.hosts[host]) for host in ctx.facts},
        clock_skew={host: facts.clock_skew for host, facts in ctx.facts.items()},
        identities={service: images.get(image, "") for service, image in release.services.items()},
        by_tag=frozenset(host for host, facts in ctx.facts.items() if facts.docker and facts.docker.containerd_store),
        run=ctx.run.id,
        others=lambda: _other_runs(ctx),
        secrets=_secrets(ctx),
        scrub=ctx.run.scrub,
        limit=frozenset(ctx.facts) - ctx.state.start_failures.keys(),
        look_at_gpus=lambda host, service, log, reload: gpus.look_at(ctx, host, service, log=log, reload=reload),
        gpus_before=lambda name, host: gpus.found_before(ctx, name, host),
    )


def _other_runs(ctx: RunContext) -> list[str]:
    """Runs under way beside this one, a watch for instance, as far as this machine knows."""
    known = runs_under_way(ctx.run.path.parent.parent, ctx.deployment.environment.name)
    return [run for run in known if run != ctx.run.id]


def _secrets(ctx: RunContext) -> dict[str, str]:
    """The stack's secrets. A missing one is an error only where a probe refers to secrets at all."""
    from canaryctl.probe.check import uses_secrets

    try:
        return dict(ctx.deployment.configuration.secrets)
    except CanaryError:
        if uses_secrets(ctx.deployment.configuration.probes):
            raise
        return {}
