"""Changes of what hosts serve, which these take back by themselves unless their run confirms them.

The half that runs on a host is the keeper of roles/stack_release; docs/reliability.md tells the whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from canaryctl.agent.read.change import GOING_BACK
from canaryctl.config.durations import show_duration
from canaryctl.deploy import signing
from canaryctl.deploy.context import RunContext
from canaryctl.errors import ApplyError, HostError
from canaryctl.facts import HostFacts
from canaryctl.hosts import Connection, history
from canaryctl.plan.drains import drain_of, drain_to_come, drain_words
from canaryctl.plan.plan import Plan
from canaryctl.plan.rollback import back_from

_MARGIN = 120.0  # seconds for what lies between: Ansible's start, the evidence, an interrupted network
_LOOK_EVERY = 1.0  # seconds
_BASELINE = "its baseline was deployed before it, and may have moved the database's schema"
_MOVED = "the database's schema has moved, and the stack does not say that the release before can work with that"


def orders(ctx: RunContext, hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each host is told about the change that begins: within how long it is confirmed, and where it goes else."""
    confirm, back, why = confirm_seconds(ctx), ways_back(ctx, hosts), ""
    moved = ctx.state.migration is not None and ctx.state.migration.moved
    migrations = ctx.deployment.stack.migrations
    if moved and not (migrations and migrations.backward_compatible):
        back, why = {}, _MOVED
    elif ctx.command.is_candidate:
        back, why = {}, _BASELINE
    common = {"run": ctx.run.id, "who": ctx.run.operator, "environment": ctx.deployment.environment.name}
    return {host: {**common, "confirm": confirm, "back": back.get(host), "why": why} for host in hosts}


def ways_back(ctx: RunContext, hosts: Iterable[str]) -> dict[str, dict[str, str]]:
    """By host the release (its directory) that last passed there, and its compose project; none where there is none."""
    before: Mapping[str, HostFacts] = {**ctx.before, **ctx.state.before_baseline}
    known = [host for host in hosts if host in before and host in ctx.facts]
    deployment = ctx.deployment
    found = back_from(
        before, ctx.facts, known, deployment.environment.name, deployment.stack.stack, signing.own_trust(ctx)
    )
    return {
        host: {"release": step.directory, "project": step.project}
        for host, step in found.steps.items()
        if step.directory is not None
    }


def confirm_seconds(ctx: RunContext) -> float:
    """How long after a change has begun it is confirmed at the latest: what its run may take until it has judged."""
    policy, waves = ctx.deployment.policy, max(ctx.state.waves, 1)
    if policy.confirm:
        return policy.confirm
    own = sum(_longest(probe) for probe in ctx.deployment.configuration.probes)
    probes = min(policy.probe_deadline, own)
    return waves * (ctx.deployment.stack.start_timeout + drain(ctx) + probes) + policy.soak + _MARGIN


def drain(ctx: RunContext, *, coming: bool = False) -> float:
    """Seconds by which stopping what runs may take longer than ordinary containers take, on the slowest host.

    Args:
        coming: what this run brings may be stopped by it as well.
    """
    found = [drain_of(facts, ctx.deployment.stack.stack) for facts in ctx.facts.values()]
    if coming:
        found += [drain_to_come(target.rendering.graces) for target in ctx.targets.values()]
    return max(found, default=0.0)


def _longest(probe: Any) -> float:
    """Seconds that a probe may take: until it gives up, and its last attempt; for a lifecycle each of its requests."""
    waits = [part.timeout for part in (getattr(probe, "status", None),) if part] + [
        getattr(part, "eventually", 0.0) for part in (probe, getattr(probe, "confirm", None)) if part
    ]
    requests = 6 if getattr(probe, "status", None) else 1
    return float(sum(waits) + requests * probe.timeout)


def foretold(ctx: RunContext, plan: Plan, waves: int) -> list[str]:
    """What to say of it before the operator agrees with the plan, whose hosts start in so many waves."""
    ctx.state.waves = waves
    if not plan.hosts("start"):
        return []
    seconds = show_duration(round(confirm_seconds(ctx)))
    stack, hosts = ctx.deployment.stack.stack, [host for host in plan.hosts("start") if host in ctx.facts]
    drains = [words for host in hosts if (words := drain_words(ctx.facts[host], stack))]
    return [f"hosts go back by themselves to what last passed there unless this run confirms within {seconds}", *drains]


def begun(ctx: RunContext, hosts: Iterable[str]) -> None:
    """Remember that a change may have begun there."""
    ctx.state.unconfirmed |= set(hosts)


def confirm(ctx: RunContext) -> None:
    """Let what the run has brought stay, and nothing else: it has judged nothing. Raises as `require_confirmed`."""
    hosts = [host for host in ctx.facts if host in ctx.state.unconfirmed and _open_on(ctx, host)]
    phases, lost = ctx.fleet.each(hosts, lambda connection: tell(ctx, connection))
    require_confirmed(ctx, phases, lost)


def tell(ctx: RunContext, connection: Connection, line: dict[str, Any] | None = None, *, confirms: bool = True) -> str:
    """Append a line to a host's history, and confirm what is open there; as `history.append`.

    That may be the change of a run before, which was cut off: what it brought is what this one has judged.
    """
    host = connection.host
    held, asked = ctx.fleet.locks.held_on(host), _open_on(ctx, host) if confirms else ""
    return history.append(connection, ctx.deployment.stack.stack, line, held, confirm=asked)


def _open_on(ctx: RunContext, host: str) -> str:
    """The id of the change that waits on a host to be confirmed by this run; '' for none."""
    if host in ctx.state.start_failures and ctx.deployment.policy.on_failure != "keep":
        return ""  # it goes back by itself
    if host in ctx.state.unconfirmed:
        return ctx.run.id
    seen = ctx.facts[host].state.change if host in ctx.facts else None
    stays = seen is not None and seen.phase == "stranded" and seen.back is None  # it serves what that one brought
    return seen.id if seen and (seen.is_open or seen.phase == "returning" or stays) else ""


def give_up(ctx: RunContext, connection: Connection, line: dict[str, Any]) -> None:
    """Append a line to a host's history, and have what this run brought there taken back at once."""
    unwanted = ctx.run.id if connection.host in ctx.state.unconfirmed else ""
    locks = ctx.fleet.locks.held_on(connection.host)
    if history.append(connection, ctx.deployment.stack.stack, line, locks, give_up=unwanted) == "confirmed":
        ctx.state.unconfirmed.discard(connection.host)  # just before the interruption: it stays


def wait_for_returns(ctx: RunContext) -> None:
    """Let hosts that are going back by themselves come to an end, as long as a start may take: a plan needs rest."""
    deadline = time.monotonic() + ctx.deployment.stack.start_timeout + drain(ctx) + _MARGIN / 2
    told: set[str] = set()
    while time.monotonic() < deadline:
        going = [host for host, facts in ctx.facts.items() if _is_going_back(facts)]
        for host in going:
            if host not in told and (change := ctx.facts[host].state.change):
                ctx.run.note(f"{host}: {change.words(ctx.facts[host].time)}")
                told.add(host)
        if not going:
            return
        time.sleep(_LOOK_EVERY)
        ctx.forget_before()
        ctx.observe()


def _is_going_back(facts: HostFacts) -> bool:
    """Where Docker is away the host waits for it, and nobody need wait for that."""
    change, docker = facts.state.change, facts.docker
    return change is not None and change.phase == "returning" and docker is not None and docker.running


def require_confirmed(ctx: RunContext, phases: Mapping[str, str], lost: Mapping[str, HostError]) -> None:
    """Take note of what hosts answered. One that confirmed and found no room for its line is no lost one.

    Raises:
        ApplyError: a host has gone back by itself before it was told, or was told and cannot write.
        HostError: a host could not be told.
    """
    unwritten = {host: error.phase for host, error in lost.items() if isinstance(error, history.UnwrittenError)}
    phases = {**phases, **{host: phase for host, phase in unwritten.items() if phase}}
    ctx.state.unconfirmed -= {host for host, phase in phases.items() if phase not in GOING_BACK}
    if late := [host for host, phase in phases.items() if phase in GOING_BACK]:
        ctx.state.unconfirmed -= set(late)
        seconds = show_duration(round(confirm_seconds(ctx)))
        raise ApplyError(
            f"not confirmed within {seconds}: the host has gone back by itself to what last passed there",
            hint="see what took so long, give canary_confirm more time if that is right, then run this again",
            stage="start",
            host=", ".join(late),
        )
    for host in sorted(ctx.state.unconfirmed - ctx.state.start_failures.keys() - phases.keys() - lost.keys()):
        hint = "see that it is up, then deploy again"
        ctx.run.warn("the host could not be told that what it serves stays: it goes back by itself", host, hint)
    if unheard := [host for host in lost if host in ctx.state.unconfirmed]:
        error, hosts = lost[unheard[0]], ", ".join(unheard)
        what = f"the change of stage start could not be confirmed, so the host will go back by itself: {error.what}"
        if all(host in unwritten for host in unheard):
            raise ApplyError(what, hint=error.hint, stage="start", host=hosts)
        raise HostError(what, hosts, "see that it is up, then run this again")
