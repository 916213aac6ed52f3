"""A deploy with a baseline: two runs on the same hosts, the second measured by the first.

The baseline is a run of its own. Its hosts' history says so in each line, so that it is never promoted and never rolled
back to. What fails in it does not stop the candidate, unless it never came to run at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from canaryctl.config.yamlfile import shown
from canaryctl.deploy.context import Work
from canaryctl.deploy.lifecycle import recorded
from canaryctl.deploy.sequence import Document, deploy_release, require_agreement, require_possible
from canaryctl.errors import ConfigError
from canaryctl.evidence.compare import compare
from canaryctl.evidence.run import Listener
from canaryctl.plan.deployment import Request, Scene
from canaryctl.plan.plan import Change, Plan, make_plan

# Asked once, with the changes of both under what they are for.
ConfirmBoth = Callable[[Mapping[str, Sequence[Change]]], bool]


def deploy(
    request: Request, variant: str, listeners: Sequence[Listener], confirm: ConfirmBoth
) -> tuple[Document, Document | None]:
    """Deploy `variant` with the stack's own images, then what `request` asks for, and compare them.

    Returns:
        The baseline's document and the candidate's; no candidate where the baseline could not be applied.

    Raises:
        ConfigError: a fault found before there is an environment to keep a record for.
    """
    candidate = Scene(request)
    with recorded("deploy", replace(request, variant=variant, images={}), listeners, "baseline") as work:
        _demand_disposable(candidate)
        candidate.check_all()
        deploy_release(work, lambda plan: require_agreement(plan, lambda _: confirm(_both(work, plan, candidate))))
    baseline, before = work.run.document, work.before
    if not _came_to_run(baseline):
        return baseline, None
    with recorded("deploy", request, listeners, "candidate") as work:
        work.baseline = baseline
        work.before_baseline = before  # a baseline is never rolled back to
        work.run.set("baseline", baseline["id"])
        if baseline["verdict"] != "passed":
            work.run.warn(f"the baseline {baseline['variant']} itself {_fared(baseline)}", hint=baseline["directory"])
        work.run.at_end(lambda document: {"comparison": compare(baseline, document)})
        deploy_release(work, lambda plan: None)
    return baseline, work.run.document


def _demand_disposable(scene: Scene) -> None:
    where = shown(scene.environment.directory)
    if kept := [host for host, policy in scene.policies.items() if not policy.disposable]:
        raise ConfigError(
            f"a baseline migrates the database and replaces what runs, which {scene.environment.name} does not allow "
            f"({', '.join(kept)})",
            where,
            "where all of its data may be lost, write canary_disposable: true; else deploy without --baseline",
        )


def _both(work: Work, plan: Plan, candidate: Scene) -> dict[str, Sequence[Change]]:
    """The changes of both. Those of the candidate are planned from the hosts as they are, then put in words."""
    candidate.settle_platform({facts.arch for facts in work.facts.values() if facts.arch})
    then = make_plan(
        candidate.stack,
        candidate.release,
        candidate.targets(work.facts, work.nonce),
        work.facts,
        candidate.policies,
        candidate.known,
        leave_data=candidate.request.leave_data,
    )
    require_possible(then.problems)
    stages = ("push", "render", "migrate")
    before = [change for change in then.changes if change.stage in stages and change not in plan.changes]
    start = [
        Change(host, "start", f"the services of {candidate.variant}", "they take the place of the baseline's")
        for host in candidate.placed
        if host in work.facts
    ]
    return {
        f"baseline {work.scene.variant}": plan.changes,
        f"then candidate {candidate.variant}": [*before, *start],
    }


def _came_to_run(baseline: Document) -> bool:
    """Whether its services were at least started: an unhealthy baseline is an answer, one never applied is none."""
    started = any(stage["name"] == "start" for stage in baseline["stages"])
    return baseline["exit_code"] in (0, 1, 4, 6) and (baseline["error"] is None or started)


def _fared(baseline: Document) -> str:
    error: Mapping[str, Any] | None = baseline["error"]
    return f"{baseline['verdict']}: {error['what']}" if error else str(baseline["verdict"])
