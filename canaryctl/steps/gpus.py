"""What a deploy does about GPUs before it changes anything."""

from __future__ import annotations

import time

from canaryctl.config.durations import show_duration
from canaryctl.plan.gpus import BusyError
from canaryctl.plan.plan import Plan
from canaryctl.work import Work

_LOOK_EVERY = 10.0  # seconds


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
        work.demand_all_hosts()
        plan = work.plan()
    return plan


def _waited_for(work: Work, plan: Plan) -> list[BusyError]:
    return [
        problem
        for problem in plan.problems
        if isinstance(problem, BusyError) and work.scene.policies[problem.host].busy == "wait"
    ]
