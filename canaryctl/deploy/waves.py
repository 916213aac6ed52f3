"""Start the release in waves: the first hosts of each group must pass the probes before the others start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from canaryctl.deploy import stages, verification
from canaryctl.deploy.context import Work
from canaryctl.errors import ApplyError, CanaryError, GateError, HostError, UnjudgedError
from canaryctl.evidence.files import now
from canaryctl.plan.plan import Plan
from canaryctl.plan.waves import Wave, make_waves, too_many

if TYPE_CHECKING:  # the probes bring an HTTP client along, which most commands do without
    from canaryctl.probe.verdict import Judgement


def start(work: Work, hosts: Sequence[str], plan: Plan) -> None:
    """Make the release current and bring its services up, healthy, wave by wave; `work.held_back` are not reached yet.

    Hosts that fail within what the policy allows are kept in `work.start_failures`, and the others go on.

    Raises:
        ApplyError, HostError: more hosts of a wave failed than may; later waves were not started.
        GateError, UnjudgedError: the probes failed, or could not judge, on the first wave; the others were not started.
    """
    waves = waves_of(work, hosts)
    if waves[0].gate:
        verification.check_probes(work)  # a fault in them must not come to light on a changed host
    rows = [_row(wave) for wave in waves]
    for number, wave in enumerate(waves):
        work.held_back = tuple(host for later in waves[number + 1 :] for host in later.hosts)
        row = rows[number]
        row["started"] = now()
        if len(waves) > 1:
            work.run.event("wave.started", number=number + 1, of=len(waves), hosts=wave.hosts, gate=wave.gate)
        try:
            _start(work, wave, plan, row)
            if wave.gate:
                _judge(work, wave, row)
        finally:
            row["finished"] = now()
            work.run.set("waves", rows)


def foretold(work: Work, plan: Plan) -> list[str]:
    """What to say of the waves before the operator agrees with the plan; nothing where all start at once."""
    hosts = plan.hosts("start")
    waves = waves_of(work, hosts) if hosts else ()
    if len(waves) < 2:
        return []
    said = "; ".join(", ".join(wave.hosts) + (" (the gate)" if wave.gate else "") for wave in waves)
    return [f"starts in {len(waves)} waves: {said}"]


def waves_of(work: Work, hosts: Sequence[str]) -> tuple[Wave, ...]:
    """The waves that these hosts start in, by the environment's policy. A rehearsal (--check) starts none in turn."""
    groups = work.scene.environment.groups
    placement = {group: groups.get(group, ()) for group in work.scene.stack.placement}
    return make_waves(hosts, placement, () if work.scene.request.check else work.scene.policy.serial)


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


def _start(work: Work, wave: Wave, plan: Plan, row: dict[str, Any]) -> None:
    faults = stages.start(work, wave.hosts, plan)
    row.update(verdict="failed" if faults else "passed", failed=list(faults))
    if not faults:
        return
    allowed = 0.0 if wave.gate else work.scene.policy.max_fail_percentage
    if too_many(len(faults), len(wave.hosts), allowed):
        raise _with_held_back(next(iter(faults.values())), work)
    work.start_failures |= faults
    work.failures |= {host: fault for host, fault in faults.items() if isinstance(fault, HostError)}
    for host, fault in faults.items():
        work.run.warn(f"start failed, which canary_max_fail_percentage allows: {fault.what}", host, fault.hint)


def _judge(work: Work, wave: Wave, row: dict[str, Any]) -> None:
    """Probe what serves the release by now: the gate, and the hosts that had nothing to start."""
    reached = [host for host in work.facts if host not in work.held_back]
    found, results = verification.gate(work, reached)
    row.update(verdict=found.verdict, probes=[result.name for result in results if result.verdict != "skipped"])
    if lost := next((work.failures[host] for host in wave.hosts if host in work.failures), None):
        raise _with_held_back(lost, work)
    if found.verdict != "passed":
        raise _with_held_back(_refusal(wave, found), work)
    work.run.note(f"the gate passed on {', '.join(wave.hosts)}: {', '.join(row['probes'])}")


def _refusal(wave: Wave, found: Judgement) -> CanaryError:
    hosts, reasons = ", ".join(wave.hosts), ", ".join(found.reasons)
    if found.verdict == "inconclusive":
        return UnjudgedError(f"the gate could not be judged: {reasons}", hosts, "fix the probe, then deploy again")
    return GateError(f"the gate did not pass: {reasons}", hosts, "fix the release, then deploy again", stage="start")


def _with_held_back(error: CanaryError, work: Work) -> CanaryError:
    """The same error, which also tells the hosts that were spared."""
    if work.held_back:
        spared = f"Not started, and as they were: {', '.join(work.held_back)}"
        error.hint = f"{error.hint.rstrip('. ')}. {spared}".lstrip(". ")
    return error


def end(work: Work) -> None:
    """Fail the run over hosts that were left behind, whatever the probes said of the others."""
    if work.start_failures:
        work.verdict = "failed"


def error_of(work: Work) -> ApplyError | None:
    """What to say of hosts that were left behind; None where all started."""
    faults = [fault for fault in work.start_failures.values() if isinstance(fault, ApplyError)]
    return faults[0] if faults else None
