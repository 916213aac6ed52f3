"""Start the release in waves: the first hosts of each group must pass the probes before the others start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from canaryctl.config.durations import now
from canaryctl.deploy import stages, verification
from canaryctl.deploy.context import RunContext
from canaryctl.errors import ApplyError, CanaryError, GateError, HostError, UnjudgedError
from canaryctl.plan.plan import Plan
from canaryctl.plan.waves import Wave, make_waves, too_many

if TYPE_CHECKING:  # the probes bring an HTTP client along, which most commands do without
    from canaryctl.probe.verdict import Judgement


def start(ctx: RunContext, hosts: Sequence[str], plan: Plan) -> None:
    """Make the release current and bring its services up, healthy, wave by wave; `state.held_back` are not reached yet.

    Hosts that fail within what the policy allows are kept in `ctx.state.start_failures`, and the others go on.

    Raises:
        ApplyError, HostError: more hosts of a wave failed than may; later waves were not started.
        GateError, UnjudgedError: the probes failed, or could not judge, on the first wave; the others were not started.
    """
    waves = waves_of(ctx, hosts)
    if waves[0].gate:
        verification.check_probes(ctx)  # a fault in them must not come to light on a changed host
    rows = [_row(wave) for wave in waves]
    for number, wave in enumerate(waves):
        ctx.state.held_back = tuple(host for later in waves[number + 1 :] for host in later.hosts)
        row = rows[number]
        row["started"] = now()
        if len(waves) > 1:
            ctx.run.event("wave.started", number=number + 1, of=len(waves), hosts=wave.hosts, gate=wave.gate)
        try:
            _start(ctx, wave, plan, row)
            if wave.gate:
                _judge(ctx, wave, row)
        finally:
            row["finished"] = now()
            ctx.run.set("waves", rows)


def foretold(ctx: RunContext, plan: Plan) -> list[str]:
    """What to say of the waves before the operator agrees with the plan; nothing where all start at once."""
    hosts = plan.hosts("start")
    waves = waves_of(ctx, hosts) if hosts else ()
    if len(waves) < 2:
        return []
    order = "; ".join(", ".join(wave.hosts) + (" (the gate)" if wave.gate else "") for wave in waves)
    return [f"starts in {len(waves)} waves: {order}"]


def waves_of(ctx: RunContext, hosts: Sequence[str]) -> tuple[Wave, ...]:
    """The waves that these hosts start in, by the environment's policy. A rehearsal (--check) starts none in turn."""
    groups = ctx.deployment.environment.groups
    placement = {group: groups.get(group, ()) for group in ctx.deployment.stack.placement}
    return make_waves(hosts, placement, () if ctx.deployment.request.check else ctx.deployment.policy.serial)


def _row(wave: Wave) -> dict[str, Any]:
    """A wave in run.json; one that was not reached keeps its nulls."""
    return {
        "hosts": list(wave.hosts),
        "gate": wave.gate,
        "verdict": None,
        "failed": [],
        "probes": [],
        "started": None,
        "finished": None,
    }


def _start(ctx: RunContext, wave: Wave, plan: Plan, row: dict[str, Any]) -> None:
    faults = stages.start(ctx, wave.hosts, plan)
    row.update(verdict="failed" if faults else "passed", failed=list(faults))
    if not faults:
        return
    allowed = 0.0 if wave.gate else ctx.deployment.policy.max_fail_percentage
    if too_many(len(faults), len(wave.hosts), allowed):
        raise _with_held_back(next(iter(faults.values())), ctx)
    ctx.state.start_failures |= faults
    ctx.state.failures |= {host: fault for host, fault in faults.items() if isinstance(fault, HostError)}
    for host, fault in faults.items():
        ctx.run.warn(f"start failed, which canary_max_fail_percentage allows: {fault.what}", host, fault.hint)


def _judge(ctx: RunContext, wave: Wave, row: dict[str, Any]) -> None:
    """Probe what serves the release by now: the gate, and the hosts that had nothing to start."""
    reached = [host for host in ctx.facts if host not in ctx.state.held_back]
    found, results = verification.gate(ctx, reached)
    row.update(verdict=found.verdict, probes=[result.name for result in results if result.verdict != "skipped"])
    if lost := next((ctx.state.failures[host] for host in wave.hosts if host in ctx.state.failures), None):
        raise _with_held_back(lost, ctx)
    if found.verdict != "passed":
        raise _with_held_back(_refusal(wave, found), ctx)
    ctx.run.note(f"the gate passed on {', '.join(wave.hosts)}: {', '.join(row['probes'])}")


def _refusal(wave: Wave, found: Judgement) -> CanaryError:
    hosts, reasons = ", ".join(wave.hosts), ", ".join(found.reasons)
    if found.verdict == "inconclusive":
        return UnjudgedError(f"the gate could not be judged: {reasons}", hosts, "fix the probe, then deploy again")
    return GateError(f"the gate did not pass: {reasons}", hosts, "fix the release, then deploy again", stage="start")


def _with_held_back(error: CanaryError, ctx: RunContext) -> CanaryError:
    """The same error, which also tells the hosts that were spared."""
    if ctx.state.held_back:
        spared = f"Not started, and as they were: {', '.join(ctx.state.held_back)}"
        error.hint = f"{error.hint.rstrip('. ')}. {spared}".lstrip(". ")
    return error


def end(ctx: RunContext) -> None:
    """Fail the run over hosts that were left behind, whatever the probes said of the others."""
    if ctx.state.start_failures:
        ctx.state.verdict = "failed"


def error_of(ctx: RunContext) -> ApplyError | None:
    """What to say of hosts that were left behind; None where all started."""
    faults = [fault for fault in ctx.state.start_failures.values() if isinstance(fault, ApplyError)]
    return faults[0] if faults else None
