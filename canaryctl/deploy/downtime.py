"""How long services did not serve: what hosts measured while it happened, put together over a run and its rollback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canaryctl.agent.read.change import CONFIRMED, away_words
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.state import Downtime
from canaryctl.evidence.words import away_in_all
from canaryctl.plan.plan import Plan


def record(ctx: RunContext, host: str, gaps: Mapping[str, Mapping[str, float | None]]) -> None:
    """Add to the record which services did not serve for how long while a release started.

    One that was found stopped counts from where this run, or the one that failed before, has stopped it; else from
    when it stopped, if it ran when that one began: somebody else's stop of yesterday is none of its gaps.
    """
    replaced, ran = last_time(ctx, host), running_before(ctx)
    for service, gap in gaps.items():
        key, began = (host, service), gap["from"]
        if "since" in gap:
            known = [moment for moment in (began, ctx.state.stopped.get(key)) if moment is not None]
            began = min(known, default=gap["since"] if key in ran else None)
        left, returned = gap.get("left"), gap.get("returned")
        if left is not None and returned is not None and (key in ctx.state.stopped or key in ctx.state.served):
            ctx.state.downtime.append(Downtime(host, service, left, returned))
        if began is not None:
            ctx.state.downtime.append(Downtime(host, service, began, gap["until"], replaced.get(service)))
    wanted = ctx.state.release.services
    # What the release has no more is not meant to come back.
    told = [gap for gap in ctx.state.downtime if gap.until is not None or not wanted or gap.service in wanted]
    ctx.run.set("gaps", [gap.as_dict() for gap in told])


def hand_on(ctx: RunContext, again: RunContext) -> None:
    """What is away when a rollback begins goes on in its run."""
    again.state.stopped = {(gap.host, gap.service): gap.began for gap in ctx.state.downtime if gap.until is None}
    again.state.served = running_before(ctx)


def take_back(ctx: RunContext, again: RunContext, *, passed: bool) -> list[Downtime]:
    """Have the record of a run tell how long services were away in all, once its rollback has ended.

    What was away and the rollback says nothing of has never been, where it passed: Docker could not be asked.
    """
    back = {(gap.host, gap.service) for gap in again.state.downtime}
    kept = [
        gap for gap in ctx.state.downtime if gap.until is not None or not (passed or (gap.host, gap.service) in back)
    ]
    whole = [*kept, *again.state.downtime]
    ctx.run.set("gaps", [gap.as_dict() for gap in whole])
    return whole


def running_before(ctx: RunContext) -> set[tuple[str, str]]:
    """Services that ran when the run began, or the one whose rollback it is, by host and name."""
    stack = ctx.deployment.stack.stack
    seen = {
        (host, container.service)
        for host, facts in ctx.before.items()
        for container in facts.containers
        if container.state == "running" and container.project.startswith(f"{stack}-")
    }
    return seen | ctx.state.served


def last_time(ctx: RunContext, host: str) -> dict[str, float]:
    """How many seconds each service was away when it was replaced there last, as far as the host knows."""
    change = ctx.before[host].state.change if host in ctx.before else None
    return change.replaced if change and change.phase == CONFIRMED else {}


def foretold(ctx: RunContext, plan: Plan) -> list[str]:
    """What to say of it before the operator agrees with the plan: what a replacement took the last time.

    A service whose definition alone has changed is not in the plan, but replaced with the release.
    """
    longest: dict[str, float | None] = {}
    for host in plan.hosts("start"):
        for service, seconds in last_time(ctx, host).items():
            longest[service] = max(seconds, longest.get(service) or 0.0)
    return [f"services stop while they are replaced; the last time: {away_words(longest)}"] if longest else []


def tell(ctx: RunContext) -> None:
    """Note how long services were away for what the run has brought, and what the same took the last time."""
    if longest := _longest(ctx.state.downtime):
        before = {name: f" (the last time {row['foretold']:.1f} s)" for name, row in longest.items() if row["foretold"]}
        times = [f"{away_words({name: row['seconds']})}{before.get(name, '')}" for name, row in longest.items()]
        ctx.run.note(f"out of service meanwhile: {', '.join(times)}")


def words(downtime: Sequence[Downtime]) -> str:
    """How long each service did not serve, on the host where that was longest."""
    times = away_words({service: row["seconds"] for service, row in _longest(downtime).items()})
    return f"out of service meanwhile: {times}" if times else "no service was out of service"


def _longest(downtime: Sequence[Downtime]) -> dict[str, dict[str, Any]]:
    """Of each service the row of the host where it was away longest, one that is not back before others."""
    longest: dict[str, dict[str, Any]] = {}
    for row in away_in_all([one.as_dict() for one in downtime]):
        known = longest.setdefault(row["service"], row)
        if known["seconds"] is not None and (row["seconds"] is None or row["seconds"] > known["seconds"]):
            longest[row["service"]] = row
    return dict(sorted(longest.items()))
