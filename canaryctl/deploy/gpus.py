"""What a run does about GPUs: wait for those that others use, and look at them for the probes."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.deploy.context import RunContext
from canaryctl.evidence.store import stored_runs
from canaryctl.hosts import watch_gpus
from canaryctl.plan.gpus import BusyError
from canaryctl.plan.plan import Plan

_LOOK_EVERY = 10.0  # seconds
_RECENT = 50  # runs that are looked through for figures to compare with


def wait_for_others(ctx: RunContext, plan: Plan) -> Plan:
    """Where the policy is to wait for GPUs that others use, look again until they are free or the time is over."""
    began, noted = time.monotonic(), False
    while busy := _waited_for(ctx, plan):
        left = min(ctx.deployment.policies[problem.host].busy_wait for problem in busy) - (time.monotonic() - began)
        if left <= 0:
            return plan
        if not noted:
            noted = True
            ctx.run.note(f"waited for GPUs in use, at most {show_duration(left)}: {busy[0].what}")
        time.sleep(min(_LOOK_EVERY, left))
        ctx.observe()
        ctx.require_all_hosts()
        plan = ctx.plan()
    return plan


def _waited_for(ctx: RunContext, plan: Plan) -> list[BusyError]:
    return [
        problem
        for problem in plan.problems
        if isinstance(problem, BusyError) and ctx.deployment.policies[problem.host].busy == "wait"
    ]


def look_at(ctx: RunContext, host: str, service: str, *, log: bool, reload: bool) -> dict[str, Any]:
    """What a host tells of a service's GPUs now."""
    return watch_gpus(ctx.fleet.get(host), ctx.deployment.compose_project, service, log=log, reload=reload)


def found_before(ctx: RunContext, probe: str, host: str) -> dict[str, Any]:
    """What a gpu probe found on a host in the newest run here that it passed in; empty where there is none of late."""
    for run in islice(stored_runs(ctx.run.path.parent.parent, ctx.deployment.environment.name), _RECENT):
        for row in run.document.get("probes") or ():
            if (row.get("name"), row.get("kind"), row.get("verdict")) != (probe, "gpu", "passed"):
                continue
            if found := (row.get("hosts") or {}).get(host, {}).get("found"):
                return dict(found)
    return {}
