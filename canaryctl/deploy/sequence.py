"""The way of a deploy: observe, plan, apply, probe, record. Read it from top to bottom.

Each public function is one command and gives back the run's document, as run.json has it; its `exit_code` is the
command's. What goes wrong on hosts is in the document, not raised. ConfigError is raised for faults found before there
is an environment to keep a record for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from canaryctl.deploy import (
    collection,
    contracts,
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
from canaryctl.deploy.context import Work
from canaryctl.deploy.lifecycle import after_failure, ended_by, recorded, return_to, unrecorded, verify
from canaryctl.deploy.outcome import outcome
from canaryctl.deploy.watching import Watching
from canaryctl.errors import CanaryError, ConfigError, HostError
from canaryctl.evidence.run import Listener
from canaryctl.plan.deployment import Request
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
    with recorded("deploy", request, listeners) as work:
        deploy_release(work, lambda plan: require_agreement(plan, confirm) if plan.changes else None)
    return work.run.document


def provision(request: Request, listeners: Sequence[Listener]) -> Document:
    """Install what hosts lack to run containers. Needs no image and no secret."""
    with recorded("provision", request, listeners) as work:
        work.observe()
        locking.take(work, host_too=True)
        plan = plan_provision(work.facts, work.scene.policies, {host: work.scene.wants(host) for host in work.facts})
        work.record_plan(plan)
        require_possible(plan.problems)
        if hosts := plan.hosts("provision"):
            with work.run.changing():
                stages.provision(work, hosts)
        collection.collect(work)
    return work.run.document


def stage(name: str, request: Request, listeners: Sequence[Listener]) -> Document:
    """One stage alone: push, render, migrate or start. Earlier stages must have been done."""
    with recorded(name, request, listeners) as work:
        promotion.promote(work)
        work.scene.check_all(probes=False)
        collection.know_secrets(work)
        work.observe()
        locking.take(work)
        if name in ("migrate", "start"):
            work.require_all_hosts()
        plan = work.plan()
        record_plan(work, plan.only(name))
        require_possible(plan.problems_before_end_of(name))
        require_earlier(plan, name)
        if name == "push":
            contracts.check_here(work)
        apply(work, plan.only(name))
        waves.end(work)
        if name != "push":  # images alone change nothing that could be collected
            collection.read_migration(work)
            collection.collect(work)
    return work.run.document


def probe(request: Request, listeners: Sequence[Listener], watching: Watching | None = None) -> Document:
    """Judge what an environment serves now, once or until interrupted; nothing is changed."""
    with recorded("probe", request, listeners) as work:
        _ = work.scene.selection
        collection.know_secrets(work, needed=False)
        work.observe()
        work.require_all_hosts()
        work.record_served()
        verification.check_probes(work)
        verify(work, watching)
    return work.run.document


def collect(request: Request, listeners: Sequence[Listener]) -> Document:
    """Bring logs, container state and facts home."""
    with recorded("collect", request, listeners) as work:
        collection.know_secrets(work, needed=False)
        work.observe()
        work.record_served()
        collection.collect(work)
    return work.run.document


def down(request: Request, listeners: Sequence[Listener], *, volumes: bool) -> Document:
    """Stop an environment's services; its data stays unless `volumes`. The last logs are kept first."""
    with recorded("down", request, listeners) as work:
        collection.know_secrets(work, needed=False)
        work.observe()
        locking.take(work)
        work.record_served()
        collection.collect(work)
        with work.run.changing():
            removed = volume_steps.down(work, volumes=volumes)
        collection.remember(work, "down", more={host: {"volumes": names} for host, names in removed.items()})
    return work.run.document


def rollback(request: Request, to: str | None, listeners: Sequence[Listener], confirm: Confirm) -> Document:
    """Bring back the newest other release that passed here, or the one whose id begins with `to`, and judge it."""
    with recorded("rollback", request, listeners) as work:
        collection.know_secrets(work, needed=False)
        work.observe()
        work.require_all_hosts()
        locking.take(work)
        work.require_all_hosts()
        environment, stack = work.scene.environment.name, work.scene.stack.stack
        chosen = choose_release(work.facts, environment, to, signing.own_trust(work))
        signing.say_doubts(work, chosen.doubts)
        if chosen.proof:
            signing.say_unsigned(work, environment, work.scene.signing)
        signing.announce(work)
        back = back_to(chosen.release, work.facts, environment, stack)
        collection.read_migration(work)
        plan = rolling.enter(work, back)
        rolling.find_images(work, back)
        backup = rolling.settle_database(work, back)
        verification.check_probes(work)
        require_agreement(plan, confirm)
        return_to(work, back, backup)
    return work.run.document


def show_plan(request: Request, only: str | None = None) -> Document:
    """What a deploy, or one stage of it, would change: `plan`, `release`, `notes` and `diffs`. Leaves no run."""
    with unrecorded(request) as work:
        work.require_all_hosts()
        plan = work.plan()
        require_possible(plan.problems if only is None else plan.problems_before_end_of(only))
        plan = plan if only is None else plan.only(only)
        return {
            "environment": work.scene.environment.name,
            "variant": work.scene.variant,
            "release": work.scene.release.as_dict(),
            "promotion": work.run.document["promotion"],
            "forced": work.run.document["forced"],
            "plan": {"changes": [change.as_dict() for change in plan.changes]},
            "notes": [*_said(work), *plan.notes, *waves.foretold(work, plan)],
            "diffs": [stages.diff_release(work, host) for host in plan.hosts("render")] if request.diff else [],
        }


def _said(work: Work) -> list[str]:
    """What a deploy would note and warn of before it plans: lines of a history that prove nothing, for example."""
    told = work.run.document
    return [*told["notes"], *(f"warning: {warning['what']}" for warning in told["warnings"])]


def bytes_to_push(request: Request) -> tuple[dict[str, dict[str, Any]], list[HostError]]:
    """What a push would send: compressed bytes, images and layers by host; and the hosts that could not be asked."""
    with unrecorded(request, fetch=True) as work:
        plan = work.plan()
        require_possible(plan.problems_before_end_of("push"))
        require_earlier(plan, "push")
        return images.bytes_to_push(work), list(work.failures.values())


# the steps they share


def deploy_release(work: Work, agree: Callable[[Plan], None]) -> None:
    """All of a deploy: what it needs is checked before anything is changed, then it is planned, applied and judged.

    `agree` raises where the operator does not want the plan.
    """
    promotion.promote(work)
    work.scene.check_all()
    signing.announce(work)
    collection.know_secrets(work)
    work.observe()
    work.require_all_hosts()
    if work.scene.request.wait and not work.plan().changes:
        locking.let_others_go_first()
    locking.take(work)
    work.require_all_hosts()
    plan = gpus.wait_for_others(work, work.plan())
    record_plan(work, plan)
    require_possible(plan.problems)
    for note in waves.foretold(work, plan):
        work.run.note(note)
    verification.check_probes(work)
    contracts.check_here(work)
    agree(plan)
    hooks.before_deploy(work)
    apply(work, plan)
    verify(work)
    ended = outcome(ended_by(work))
    waves.end(work)
    collection.remember(work, "verdict", verification.proven(work))
    work.judged = True
    after_failure(work, ended.policy)
    if plan.changes and work.verdict == "passed" and locking.take_to_prune(work):
        with work.run.changing():
            images.prune(work)
    hooks.after_deploy(work)


def apply(work: Work, plan: Plan) -> None:
    """Make the changes, stage by stage."""
    if not plan.changes:
        return
    if plan.hosts("provision") or plan.hosts("push"):
        with work.run.changing():
            plan = prepare(work, plan)
    if work.run.document["command"] in ("deploy", "push"):
        contracts.check_on_hosts(work, plan)
    with work.run.changing():
        if hosts := plan.hosts("render"):
            stages.render(work, hosts)
        if hosts := plan.hosts("migrate"):
            mounts.require_mounts(work, hosts[:1])
            stages.migrate(work, hosts[0], plan)
        if hosts := plan.hosts("start"):
            mounts.require_mounts(work, hosts)
            with in_flight.under_way(work):
                waves.start(work, hosts, plan)
    collection.remember(work, work.run.document["command"])


def prepare(work: Work, plan: Plan) -> Plan:
    """Have hosts ready, with the images on them. What provisioning brings to light is planned afresh."""
    if hosts := plan.hosts("provision"):
        locking.take(work, host_too=True)
        stages.provision(work, hosts)
        work.observe()
        plan = work.plan()
        record_plan(work, plan, earlier=True)
        require_possible(plan.problems)
    if hosts := plan.hosts("push"):
        images.push(work, hosts)
    return plan


def record_plan(work: Work, plan: Plan, *, earlier: bool = False) -> None:
    """Put the plan, what it leads to and what the images are made of into the record."""
    work.record_plan(plan, earlier=earlier)
    contracts.record_layers(work)


def require_possible(problems: Sequence[CanaryError]) -> None:
    """Stop before any change when something forbids it: the first problem, naming the others."""
    if not problems:
        return
    first = next((problem for problem in problems if isinstance(problem, HostError)), problems[0])
    first.what += "".join(f"; {other}" for other in problems if other is not first)
    raise first


def require_agreement(plan: Plan, confirm: Confirm) -> None:
    """Stop unless the operator agrees with the plan."""
    if not confirm(plan):
        raise ConfigError("not confirmed, nothing was changed", "", "answer yes, or pass --yes")


def require_earlier(plan: Plan, name: str) -> None:
    """Stop a stage that would run before what it stands on."""
    missing = [change for change in plan.changes if change.stage in _EARLIER[name]]
    hosts = set(plan.hosts(name))
    for change in missing:
        if change.host in hosts or change.stage == "migrate":
            raise ConfigError(
                f"{name} needs {change.stage} first: {change.what} ({change.reason})",
                change.host,
                f"run: canaryctl {change.stage} ENV, or canaryctl deploy ENV for all of it",
            )
