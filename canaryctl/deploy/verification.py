"""Probe what hosts serve, and judge it by the environment's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from canaryctl.config.yamlfile import shown
from canaryctl.deploy import gpus
from canaryctl.deploy.context import Work
from canaryctl.deploy.proof import parts_left_out
from canaryctl.errors import CanaryError, HostError, OtherReleaseError
from canaryctl.evidence.files import now
from canaryctl.evidence.store import runs_under_way
from canaryctl.hosts import interpreter
from canaryctl.plan.definitions import other_definitions

if TYPE_CHECKING:  # the probes bring an HTTP client along, which most commands do without
    from canaryctl.config.probes import Probe
    from canaryctl.probe.context import ProbeContext
    from canaryctl.probe.measure import Meter
    from canaryctl.probe.results import ProbeResult
    from canaryctl.probe.verdict import Judgement, Row


def check_probes(work: Work) -> None:
    """Find what is wrong with the probes and the rules before anything is changed.

    Raises:
        ConfigError: names the probe with file and line, or the variable.
    """
    from canaryctl.probe.check import check_probes
    from canaryctl.probe.soak import sampled
    from canaryctl.probe.verdict import check_rules

    where, context = shown(work.scene.environment.directory), probe_context(work)
    # Those that --skip leaves out have to be right as well: their fault would wait for the next deploy.
    check_probes(work.scene.probes, context)
    check_rules(work.scene.probes, work.scene.policy, where)
    sampled(work.scene.probes)
    _meter(work, context).check(where)


def probe(work: Work) -> str:
    """Run the probes, once and then for the soak, and judge; returns the verdict.

    A host that SSH lost meanwhile is noted in `failures`.
    """
    return record(work, run(work, work.run.event), soaked=True)


def gate(work: Work, hosts: Sequence[str]) -> tuple[Judgement, list[ProbeResult]]:
    """Run the probes on these hosts alone and judge; those with no host there are skipped.

    Rows that hold the release back are recorded as the run's probes: no others will follow.
    """
    from canaryctl.probe.verdict import gating, judge

    crossing = dict.fromkeys(work.crossing)  # judged when the deploy is over
    context = replace(probe_context(work), limit=frozenset(hosts), crossing=crossing)
    names = gating(work.scene.probes, work.scene.policy.gates)
    rows = [replace(row, gates=row.name in names) for row in run(work, work.run.event, context)]
    found = judge(rows, (), work.scene.policy)
    if found.verdict != "passed":
        _record(work, rows)
    _note_lost(work, rows)
    return found, rows


def run(work: Work, on_event: Callable[..., None], context: ProbeContext | None = None) -> list[ProbeResult]:
    """Run the probes that --only and --skip leave, once; `on_event` is told what goes on."""
    from canaryctl.probe.runner import run_probes

    work.run.set("probed_from", now())
    try:
        deadline = work.scene.policy.probe_deadline
        return run_probes(
            _chosen(work),
            context or replace(probe_context(work), crossing=work.crossing),
            deadline=deadline,
            on_event=on_event,
        )
    finally:
        work.run.set("probed_until", now())


def record(work: Work, results: Sequence[ProbeResult], *, soaked: bool = False) -> str:
    """Record what one pass found, go on with the soak if it is to be, and judge by the rules; returns the verdict."""
    from canaryctl.probe.verdict import gating, judge

    policy, context = work.scene.policy, probe_context(work)
    work.run.set("rules", policy.rules())
    names = gating(work.scene.probes, policy.gates)
    meter = _meter(work, context)
    rows: Sequence[ProbeResult] = [replace(result, gates=result.name in names) for result in results]
    _record(work, rows)
    _note_lost(work, rows)
    meter.add(rows)
    meter.scrape()
    if soaked and policy.soak and not work.failures:
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


def proven(work: Work, serves: str | None = None) -> str:
    """The verdict as the hosts' history has it: a pass of only a part is `partial`, and proves no release.

    Args:
        serves: the id of the release that all hosts with services must serve, where it is not the plan that saw to it.
    """
    left_out = parts_left_out(work.scene)
    left_out += [f"{host} was lost" for host in work.failures]
    left_out += [f"{host} serves another release" for host in _others(work, serves)] if serves else []
    if work.verdict == "passed" and left_out:
        work.run.note(f"this proves no release for promotion: {', '.join(left_out)}")
    return "partial" if work.verdict == "passed" and (left_out or work.run.document["partial"]) else work.verdict


def _others(work: Work, release: str) -> list[str]:
    """Hosts that should have services and serve another release, or none."""
    of = work.scene.environment.name
    served = {
        host: facts.state.current_release or {} for host, facts in work.facts.items() if host in work.scene.placed
    }
    return [host for host, found in served.items() if (found.get("id"), found.get("environment")) != (release, of)]


def require_running(work: Work) -> None:
    """Let nothing pass that does not run: a service from another definition than the release's fails the verdict.

    Looks at the facts that the collected evidence came with. A host that serves another environment has its own say.
    """
    said = []
    for host, facts in work.facts.items():
        current, release = facts.state.current, facts.state.current_release or {}
        if host in work.held_back or host in work.start_failures or host in work.failures or current is None:
            continue
        wanted = work.targets[host].rendering.directory if host in work.targets else current
        if current != wanted:
            said.append(f"{host}: {current[:12]} is current, not {wanted[:12]}")
        elif release.get("environment") == work.scene.environment.name:
            found = other_definitions(facts, work.scene.compose_project, current)
            said += [f"{host}: {service} {how}" for service, how in sorted(found.items())]
    if not said:
        return
    hosts = ", ".join(dict.fromkeys(one.partition(":")[0] for one in said))
    work.other_release = OtherReleaseError(
        f"not everything runs what was to be judged: {'; '.join(said)}",
        hosts,
        "deploy again: what runs another definition is made anew",
    )
    work.verdict = "failed"
    work.run.warn(work.other_release.what, hosts, work.other_release.hint)


def _chosen(work: Work) -> tuple[Probe, ...]:
    """The probes that --only and --skip leave; the record says what they left out."""
    selection = work.scene.selection
    if selection.note and not work.run.document["partial"]:
        work.run.set("partial", True)
        work.run.note(selection.note)
    return selection.probes


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
        work.run.set("probed_until", now())
        rows = soaking.applied(rows)
        work.run.set("soak", soaking.as_dict())
        _record(work, rows)
    _note_lost(work, soaking.lost)
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


def probe_context(work: Work) -> ProbeContext:
    """What probes run in, for the hosts of this run."""
    from canaryctl.probe.context import ProbeContext

    release = work.run.document["release"]
    images = {name: image.get("id") or "" for name, image in release["images"].items()}
    return ProbeContext(
        environment=work.scene.environment.name,
        variables=work.names,
        connections=work.connections,
        project=work.scene.compose_project,
        sudo={host: facts.sudo for host, facts in work.facts.items()},
        python={host: interpreter(work.scene.environment.hosts[host]) for host in work.facts},
        clock_skew={host: facts.clock_skew for host, facts in work.facts.items()},
        identities={service: images.get(image, "") for service, image in (release.get("services") or {}).items()},
        by_tag=frozenset(host for host, facts in work.facts.items() if facts.docker and facts.docker.containerd_store),
        run=work.run.id,
        others=lambda: _other_runs(work),
        secrets=_secrets(work),
        scrub=work.run.scrub,
        limit=frozenset(work.facts) - work.start_failures.keys(),
        look_at_gpus=lambda host, service, log, reload: gpus.look_at(work, host, service, log=log, reload=reload),
        gpus_before=lambda name, host: gpus.found_before(work, name, host),
    )


def _other_runs(work: Work) -> list[str]:
    """Runs under way beside this one, a watch for instance, as far as this machine knows."""
    known = runs_under_way(work.run.path.parent.parent, work.scene.environment.name)
    return [run for run in known if run != work.run.id]


def _secrets(work: Work) -> dict[str, str]:
    """The stack's secrets. A missing one is an error only where a probe refers to secrets at all."""
    from canaryctl.probe.check import uses_secrets

    try:
        return dict(work.scene.secrets)
    except CanaryError:
        if uses_secrets(work.scene.probes):
            raise
        return {}
