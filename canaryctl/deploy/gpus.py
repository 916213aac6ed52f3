"""What a run does about GPUs: wait for those that others use, and look at them for the probes."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.deploy.context import Work
from canaryctl.evidence.store import stored_runs
from canaryctl.hosts import watch_gpus
from canaryctl.plan.gpus import BusyError
from canaryctl.plan.plan import Plan

_LOOK_EVERY = 10.0  # seconds
_RECENT = 50  # runs that are looked through for figures to compare with


def wait_for_others(work: Work, plan: Plan) -> Plan:
    """Where the policy is to wait for GPUs that others use, look again until they are free or the time is over."""
    began, told = time.monotonic(), False
    while busy := _waited_for(work, plan):
        left = min(work.scene.policies[problem.host].busy_wait for problem in busy) - (time.monotonic() - began)
        if left <= 0:
            return plan
        if not told:
            told = True
            work.run.note(f"waited for GPUs in use, at most {show_duration(left)}: {busy[0].what}")
        time.sleep(min(_LOOK_EVERY, left))
        work.observe()
        work.require_all_hosts()
        plan = work.plan()
    return plan


def _waited_for(work: Work, plan: Plan) -> list[BusyError]:
    return [
        problem
        for problem in plan.problems
        if isinstance(problem, BusyError) and work.scene.policies[problem.host].busy == "wait"
    ]


def look_at(work: Work, host: str, service: str, *, log: bool, reload: bool) -> dict[str, Any]:
    """What a host tells of a service's GPUs now."""
    return watch_gpus(
        work.connections.get(host),
        work.scene.environment.hosts[host],
        work.scene.compose_project,
        service,
        log=log,
        reload=reload,
        become_password=work.scene.request.become_password,
    )


def found_before(work: Work, probe: str, host: str) -> dict[str, Any]:
    """What a gpu probe found on a host in the newest run here that it passed in; empty where there is none of late."""
    for run in islice(stored_runs(work.run.path.parent.parent, work.scene.environment.name), _RECENT):
        for row in run.document.get("probes") or ():
            if (row.get("name"), row.get("kind"), row.get("verdict")) != (probe, "gpu", "passed"):
                continue
            if found := (row.get("hosts") or {}).get(host, {}).get("found"):
                return dict(found)
    return {}
