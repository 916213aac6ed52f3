"""A deploy with a baseline: two runs on the same hosts, the second measured by the first.

The baseline is a run of its own. Its hosts' history says so in each line, so that it is never promoted and never rolled
back to. What fails in it does not stop the candidate, unless it never came to run at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from canaryctl.config.yamlfile import shown
from canaryctl.deploy.command import DEPLOY
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.lifecycle import recorded
from canaryctl.deploy.release import known_names, settle_platform, with_own_release
from canaryctl.deploy.sequence import Document, deploy_release, require_agreement, require_possible
from canaryctl.deploy.state import RunState
from canaryctl.errors import ConfigError
from canaryctl.evidence.compare import compare
from canaryctl.evidence.run import Listener
from canaryctl.plan.deployment import Deployment, Request, load_deployment
from canaryctl.plan.operations.operation import Operation
from canaryctl.plan.operations.start import StartVariant
from canaryctl.plan.plan import Plan, make_plan

# Asked once, with the changes of both under what they are for.
ConfirmBoth = Callable[[Mapping[str, Sequence[Operation]]], bool]


def deploy(
    request: Request, variant: str, listeners: Sequence[Listener], confirm: ConfirmBoth
) -> tuple[Document, Document | None]:
    """Deploy `variant` with the stack's own images, then what `request` asks for, and compare them.

    Returns:
        The baseline's document and the candidate's; no candidate where the baseline could not be applied.

    Raises:
        ConfigError: a fault found before there is an environment to keep a record for.
    """
    candidate = load_deployment(request)
    with recorded(replace(DEPLOY, role="baseline"), replace(request, variant=variant, images={}), listeners) as ctx:
        _demand_disposable(candidate)
        candidate = with_own_release(candidate, ctx.registries)
        candidate.check()
        deploy_release(ctx, lambda plan: require_agreement(ctx, plan, lambda _: confirm(_both(ctx, plan, candidate))))
    baseline, before = ctx.run.document, ctx.before
    if not _came_to_run(ctx.state):
        return baseline, None
    with recorded(replace(DEPLOY, role="candidate"), request, listeners) as ctx:
        ctx.state.yardstick = baseline
        ctx.state.before_baseline = before  # a baseline is never rolled back to
        ctx.run.set("baseline", baseline["id"])
        if baseline["verdict"] != "passed":
            ctx.run.warn(f"the baseline {baseline['variant']} itself {_fared(baseline)}", hint=baseline["directory"])
        ctx.run.at_end(lambda document: {"comparison": compare(baseline, document)})
        deploy_release(ctx, lambda plan: None)
    return baseline, ctx.run.document


def _demand_disposable(deployment: Deployment) -> None:
    where = shown(deployment.environment.directory)
    if kept := [host for host, policy in deployment.policies.items() if not policy.disposable]:
        raise ConfigError(
            f"a baseline migrates the database and replaces what runs, which {deployment.environment.name} does not "
            f"allow ({', '.join(kept)})",
            where,
            "where all of its data may be lost, write canary_disposable: true; else deploy without --baseline",
        )


def _both(ctx: RunContext, plan: Plan, candidate: Deployment) -> dict[str, Sequence[Operation]]:
    """The changes of both. Those of the candidate are planned from the hosts as they are, then put in words."""
    architectures = {facts.arch for facts in ctx.facts.values() if facts.arch}
    candidate = settle_platform(candidate, architectures, ctx.registries)
    then = make_plan(
        candidate.stack,
        candidate.release,
        candidate.targets(ctx.facts, ctx.nonce),
        ctx.facts,
        candidate.policies,
        known_names(candidate),
        leave_data=candidate.request.leave_data,
    )
    require_possible(then.problems)
    stages = ("push", "render", "migrate")
    known = [operation.as_dict() for operation in plan.operations]
    before = [one for one in then.operations if one.stage in stages and one.as_dict() not in known]
    start = [
        StartVariant(host, "they take the place of the baseline's", candidate.variant)
        for host in candidate.placed
        if host in ctx.facts
    ]
    return {
        f"baseline {ctx.deployment.variant}": plan.operations,
        f"then candidate {candidate.variant}": [*before, *start],
    }


def _came_to_run(state: RunState) -> bool:
    """Whether its services were at least started: an unhealthy baseline is an answer, one never applied is none."""
    started = any("start" in stages for stages in state.touched.values())
    ended = state.outcome
    return ended is not None and ended.exit_code in (0, 1, 4, 6) and (state.error is None or started)


def _fared(baseline: Document) -> str:
    error: Mapping[str, Any] | None = baseline["error"]
    return f"{baseline['verdict']}: {error['what']}" if error else str(baseline["verdict"])
