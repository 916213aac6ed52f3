"""The way of a deploy: observe, plan, apply, probe, record. Read it from top to bottom.

Each public function is one command and gives back the run's document, as run.json has it; its `exit_code` is the
command's. What goes wrong on hosts is in the document, not raised. ConfigError is raised for faults found before there
is an environment to keep a record for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from canaryctl.deploy import (
    changes,
    collection,
    contracts,
    downtime,
    gpus,
    hooks,
    images,
    in_flight,
    locking,
    mounts,
    promotion,
    signing,
    stages,
    verification,
    waves,
)
from canaryctl.deploy import rollback as rolling
from canaryctl.deploy import volumes as volume_steps
from canaryctl.deploy.command import COLLECT, DEPLOY, DOWN, PROBE, PROVISION, ROLLBACK, STAGES
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.lifecycle import after_failure, ended_by, recorded, return_to, unrecorded, verify
from canaryctl.deploy.outcome import outcome
from canaryctl.deploy.watching import Watching
from canaryctl.errors import CanaryError, ConfigError, HostError
from canaryctl.evidence.run import Listener
from canaryctl.plan.deployment import Request
from canaryctl.plan.operations.migrate import Migrate
from canaryctl.plan.operations.provision import Provision, docker_silent
from canaryctl.plan.operations.push import Push
from canaryctl.plan.plan import Plan, plan_provision
from canaryctl.plan.rollback import back_to, choose_release

Document = dict[str, Any]
Confirm = Callable[[Plan], bool]

# What must be in place on a host before a stage can run alone.
_EARLIER = {
    "push": ("provision",),
    "render": ("provision",),
    "migrate": ("provision", "push", "render"),
    "start": ("provision", "push", "render", "migrate"),
}


def deploy(request: Request, listeners: Sequence[Listener], confirm: Confirm) -> Document:
    """Bring an environment to the release that this machine's images and files make, and judge it."""
    with recorded(DEPLOY, request, listeners) as ctx:
        deploy_release(ctx, lambda plan: require_agreement(ctx, plan, confirm) if plan.operations else None)
    return ctx.run.document


def provision(request: Request, listeners: Sequence[Listener]) -> Document:
    """Install what hosts lack to run containers. Needs no image and no secret."""
    with recorded(PROVISION, request, listeners) as ctx:
        ctx.observe()
        locking.take(ctx, host_too=True)
        plan = plan_provision(
            ctx.facts, ctx.deployment.policies, {host: ctx.deployment.wants(host) for host in ctx.facts}
        )
        ctx.record_plan(plan)
        require_possible(plan.problems)
        if provisions := plan.of(Provision):
            with ctx.changing():
                stages.provision(ctx, provisions)
        collection.collect(ctx)
    return ctx.run.document


def stage(name: str, request: Request, listeners: Sequence[Listener]) -> Document:
    """One stage alone: push, render, migrate or start. Earlier stages must have been done."""
    with recorded(STAGES[name], request, listeners) as ctx:
        promotion.promote(ctx)
        ctx.check(probes=False)
        collection.know_secrets(ctx)
        ctx.observe()
        locking.take(ctx)
        if name in ("migrate", "start"):
            changes.wait_for_returns(ctx)
            ctx.require_all_hosts()
        plan = ctx.plan()
        record_plan(ctx, plan.only(name))
        require_possible(plan.problems_before_end_of(name))
        require_earlier(plan, name)
        if name == "push":
            contracts.check_here(ctx, plan)
        apply(ctx, plan.only(name), lambda plan: None)
        if ctx.state.unconfirmed:
            changes.confirm(ctx)
        waves.end(ctx)
        downtime.tell(ctx)
        if name != "push":  # images alone change nothing that could be collected
            collection.read_migration(ctx)
            collection.collect(ctx)
    return ctx.run.document


def probe(request: Request, listeners: Sequence[Listener], watching: Watching | None = None) -> Document:
    """Judge what an environment serves now, once or until interrupted; nothing is changed."""
    with recorded(PROBE, request, listeners) as ctx:
        _ = ctx.deployment.selection
        collection.know_secrets(ctx, needed=False)
        ctx.observe()
        ctx.require_all_hosts()
        ctx.record_served()
        verification.check_probes(ctx)
        verify(ctx, watching)
    return ctx.run.document


def collect(request: Request, listeners: Sequence[Listener]) -> Document:
    """Bring logs, container state and facts home."""
    with recorded(COLLECT, request, listeners) as ctx:
        collection.know_secrets(ctx, needed=False)
        ctx.observe()
        ctx.record_served()
        collection.collect(ctx)
    return ctx.run.document


def down(request: Request, listeners: Sequence[Listener], *, volumes: bool) -> Document:
    """Stop an environment's services; its data stays unless `volumes`. The last logs are kept first."""
    with recorded(DOWN, request, listeners) as ctx:
        collection.know_secrets(ctx, needed=False)
        ctx.observe()
        locking.take(ctx)
        ctx.record_served()
        collection.collect(ctx)
        with ctx.changing():
            removed = volume_steps.down(ctx, volumes=volumes)
        collection.remember(ctx, "down", more={host: {"volumes": names} for host, names in removed.items()})
    return ctx.run.document


def rollback(request: Request, to: str | None, listeners: Sequence[Listener], confirm: Confirm) -> Document:
    """Bring back the newest other release that passed here, or the one whose id begins with `to`, and judge it."""
    with recorded(ROLLBACK, request, listeners) as ctx:
        collection.know_secrets(ctx, needed=False)
        ctx.observe()
        ctx.require_all_hosts()
        locking.take(ctx)
        changes.wait_for_returns(ctx)
        ctx.require_all_hosts()
        require_possible([silent for facts in ctx.facts.values() if (silent := docker_silent(facts, "rollback"))])
        environment, stack = ctx.deployment.environment.name, ctx.deployment.stack.stack
        chosen = choose_release(ctx.facts, environment, to, signing.own_trust(ctx))
        signing.say_doubts(ctx, chosen.doubts)
        if chosen.proof:
            signing.say_unsigned(ctx, environment, ctx.deployment.configuration.signing)
        signing.announce(ctx)
        back = back_to(chosen.release, ctx.facts, environment, stack)
        collection.read_migration(ctx)
        plan = rolling.enter(ctx, back)
        rolling.find_images(ctx, back)
        backup = rolling.settle_database(ctx, back)
        verification.check_probes(ctx)
        require_agreement(ctx, plan, confirm)
        return_to(ctx, back, backup)
        downtime.tell(ctx)
    return ctx.run.document


def show_plan(request: Request, only: str | None = None) -> Document:
    """What a deploy, or one stage of it, would change: `plan`, `release`, `notes` and `diffs`. Leaves no run."""
    with unrecorded(request) as ctx:
        ctx.require_all_hosts()
        plan = ctx.plan()
        require_possible(plan.problems if only is None else plan.problems_before_end_of(only))
        plan = plan if only is None else plan.only(only)
        return {
            "environment": ctx.deployment.environment.name,
            "variant": ctx.deployment.variant,
            "release": ctx.deployment.release.as_dict(),
            "promotion": ctx.run.document["promotion"],
            "forced": ctx.run.document["forced"],
            "plan": {"changes": [operation.as_dict() for operation in plan.operations]},
            "notes": [*_said(ctx), *plan.notes, *_foretold(ctx, plan)],
            "diffs": [stages.diff_release(ctx, host) for host in plan.hosts("render")] if request.diff else [],
        }


def _foretold(ctx: RunContext, plan: Plan) -> list[str]:
    """What a plan leads to besides its changes: waves, and how long the hosts wait for the verdict."""
    starting = waves.waves_of(ctx, plan.hosts("start"))
    said = [*waves.foretold(ctx, plan), *changes.foretold(ctx, plan, len(starting))]
    return [*said, *downtime.foretold(ctx, plan)]


def _said(ctx: RunContext) -> list[str]:
    """What a deploy would note and warn of before it plans: lines of a history that prove nothing, for example."""
    so_far = ctx.run.document
    return [*so_far["notes"], *(f"warning: {warning['what']}" for warning in so_far["warnings"])]


def bytes_to_push(request: Request) -> tuple[dict[str, dict[str, Any]], list[HostError]]:
    """What a push would send: compressed bytes, images and layers by host; and the hosts that could not be asked."""
    with unrecorded(request, fetch=True) as ctx:
        plan = ctx.plan()
        require_possible(plan.problems_before_end_of("push"))
        require_earlier(plan, "push")
        return images.bytes_to_push(ctx, plan), list(ctx.state.failures.values())


# the steps they share


def deploy_release(ctx: RunContext, agree: Callable[[Plan], None]) -> None:
    """All of a deploy: what it needs is checked before anything is changed, then it is planned, applied and judged.

    `agree` raises where the operator does not want the plan.
    """
    promotion.promote(ctx)
    ctx.check()
    signing.announce(ctx)
    collection.know_secrets(ctx)
    ctx.observe()
    ctx.require_all_hosts()
    if ctx.deployment.request.wait and not ctx.plan().operations:
        locking.let_others_go_first()
    locking.take(ctx)
    changes.wait_for_returns(ctx)
    ctx.require_all_hosts()
    plan = gpus.wait_for_others(ctx, ctx.plan())
    record_plan(ctx, plan)
    require_possible(plan.problems)
    for note in _foretold(ctx, plan):
        ctx.run.note(note)
    verification.check_probes(ctx)
    contracts.check_here(ctx, plan)
    agree(plan)
    hooks.before_deploy(ctx)
    apply(ctx, plan, agree)
    verify(ctx)
    ended = outcome(ended_by(ctx))
    stays = ctx.state.verdict != "failed" or ended.policy in ("keep", "down")
    waves.end(ctx)
    collection.remember(ctx, "verdict", verification.proven(ctx), confirms=stays)
    ctx.state.judged = True
    after_failure(ctx, ended.policy)
    if not ctx.state.rolled_back:  # which has told it
        downtime.tell(ctx)
    if plan.operations and ctx.state.verdict == "passed" and locking.take_to_prune(ctx):
        with ctx.changing():
            images.prune(ctx)
    hooks.after_deploy(ctx)


def apply(ctx: RunContext, plan: Plan, agree: Callable[[Plan], None]) -> None:
    """Make the changes, stage by stage. Where provisioning brings others to light, `agree` is asked again."""
    if not plan.operations:
        return
    if plan.hosts("provision") or plan.hosts("push"):
        with ctx.changing():
            plan = prepare(ctx, plan, agree)
    if ctx.command.checks_contracts:
        contracts.check_on_hosts(ctx, plan)
    with ctx.changing():
        if plan.hosts("render"):
            stages.render(ctx, plan)
        for migration in plan.of(Migrate):
            mounts.require_mounts(ctx, [migration.host])
            stages.migrate(ctx, migration)
        if hosts := plan.hosts("start"):
            mounts.require_mounts(ctx, hosts)
            with in_flight.under_way(ctx):
                waves.start(ctx, hosts, plan)
    collection.remember(ctx, ctx.command.name)


def prepare(ctx: RunContext, plan: Plan, agree: Callable[[Plan], None]) -> Plan:
    """Have hosts ready, with the images on them. What provisioning brings to light is planned afresh, and shown."""
    if provisions := plan.of(Provision):
        locking.take(ctx, host_too=True)
        stages.provision(ctx, provisions)
        ctx.observe()
        agreed, plan = plan, ctx.plan()
        record_plan(ctx, plan, done=agreed.only("provision"))
        require_possible(plan.problems)
        if not plan.within(agreed):
            agree(plan)
    if pushes := plan.of(Push):
        images.push(ctx, pushes)
    return plan


def record_plan(ctx: RunContext, plan: Plan, *, done: Plan | None = None) -> None:
    """Put the plan, what it leads to and what the images are made of into the record."""
    ctx.record_plan(plan, done=done)
    contracts.record_layers(ctx)


def require_possible(problems: Sequence[CanaryError]) -> None:
    """Stop before any change when something forbids it: the first problem, naming the others."""
    if not problems:
        return
    first = next((problem for problem in problems if isinstance(problem, HostError)), problems[0])
    first.what += "".join(f"; {other}" for other in problems if other is not first)
    raise first


def require_agreement(ctx: RunContext, plan: Plan, confirm: Confirm) -> None:
    """Stop unless the operator agrees with the plan."""
    if not confirm(plan):
        changed = "nothing more is changed" if ctx.state.changed else "nothing was changed"
        raise ConfigError(f"not confirmed, {changed}", "", "answer yes, or pass --yes")


def require_earlier(plan: Plan, name: str) -> None:
    """Stop a stage that would run before what it stands on."""
    hosts = set(plan.hosts(name))
    for missing in (operation for operation in plan.operations if operation.stage in _EARLIER[name]):
        if missing.host in hosts or missing.stage == "migrate":
            raise ConfigError(
                f"{name} needs {missing.stage} first: {missing.what} ({missing.reason})",
                missing.host,
                f"run: canaryctl {missing.stage} ENV, or canaryctl deploy ENV for all of it",
            )
