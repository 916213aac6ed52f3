"""Bring hosts back to an earlier release: its images, its database's schema, its services."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from canaryctl.deploy import backups, signing, stages
from canaryctl.deploy import images as push_steps
from canaryctl.deploy.backups import Backup, Schema
from canaryctl.deploy.context import RunContext, served_of
from canaryctl.deploy.state import Migration
from canaryctl.errors import ApplyError, CanaryError, ConfigError, LockedError
from canaryctl.evidence.store import stored_runs
from canaryctl.images.docker import images_by_id
from canaryctl.images.resolve import recorded_images
from canaryctl.plan.operations.push import to_push
from canaryctl.plan.plan import Plan
from canaryctl.plan.release import ImageFact, Release, canonical, recorded_image
from canaryctl.plan.rollback import RollbackPlan, back_from

HOW_ON = (
    "to go back with the database: canaryctl rollback ENV --restore-database (what was written since its backup is "
    "lost); or fix the release and deploy again"
)
# Commands whose release this machine made or was promoted, and which hosts only received.
_FROM_HERE = ("deploy", "push", "render", "migrate", "start")
_SERVING = {"migrate", "start", "rollback", "restore", "down"}  # stages after which a host may serve something else


def way_back(ctx: RunContext) -> RollbackPlan:
    """What takes the hosts that a failed run touched back to what they served before it; no steps where there are none.

    A host where it has only rendered serves what it did: there, what a first deploy left behind is all that goes.
    """
    before = {**ctx.before, **ctx.state.before_baseline}
    hosts = [host for host in ctx.facts if host in ctx.state.touched and host in before]
    chosen = [h for h in hosts if ctx.state.touched[h] & _SERVING or before[h].state.current_release is None]
    deployment, failed = ctx.deployment, ctx.state.release.id
    return back_from(
        before, ctx.facts, chosen, deployment.environment.name, deployment.stack.stack, signing.own_trust(ctx), failed
    )


def unreachable(ctx: RunContext) -> list[str]:
    """Hosts that were lost after something had begun that takes services away for a while."""
    return [host for host, stages in ctx.state.touched.items() if stages & _SERVING and host not in ctx.facts]


def reachable(back: RollbackPlan, ctx: RunContext) -> RollbackPlan:
    """The way back on the hosts that answer."""
    return RollbackPlan(back.release, {host: step for host, step in back.steps.items() if host in ctx.facts})


def enter(ctx: RunContext, back: RollbackPlan) -> Plan:
    """Make the release that will serve again the one that this run is about; the plan that leads there."""
    release = dict(back.release)
    ctx.record_release(served_of(release, back.id), release.get("id"))
    plan = Plan(back.operations)
    ctx.record_plan(plan)
    return plan


def find_images(ctx: RunContext, back: RollbackPlan) -> None:
    """See that the images that hosts lack are to be had.

    Raises:
        ApplyError: an image is neither on its host nor to be had: names it and the host.
    """
    for hosts in _lacking(ctx, back):
        _found(ctx, back, hosts)


def _lacking(ctx: RunContext, back: RollbackPlan) -> list[list[str]]:
    """Hosts that lack images, those together whose release.json name the same ones."""
    alike: dict[bytes, list[str]] = {}
    for host, step in back.steps.items():
        if step.missing(ctx.facts[host]):
            parts = {key: step.release.get(key) for key in ("id", "variant", "images", "services")}
            alike.setdefault(canonical(parts), []).append(host)
    return list(alike.values())


def _found(ctx: RunContext, back: RollbackPlan, hosts: Sequence[str]) -> Release:
    """The release of hosts that lack images, with those of its images that this machine has. Raises ApplyError."""
    lacking = {host: back.steps[host].missing(ctx.facts[host]) for host in hosts}
    document = back.steps[hosts[0]].release
    recorded = document["images"]
    wanted = sorted({name for names in lacking.values() for name in names})
    here = images_by_id({name: (recorded[name]["id"], (recorded[name]["tag"],)) for name in wanted})
    here = _deployed_from_here(ctx.deployment.project.runs, ctx.deployment.stack.stack, here)
    published = _published(ctx, {name: recorded[name] for name in wanted if name not in here}, list(lacking))
    for host, names in lacking.items():
        if gone := [name for name in names if name not in here and name not in published]:
            raise ApplyError(
                f"the release cannot come back: {', '.join(gone)} was removed from the host, and this machine has not "
                "got it or has never deployed it",
                hint=f"load what has these ids here or there: {', '.join(recorded[name]['id'] for name in gone)}",
                stage="rollback",
                host=host,
            )
    found = {
        name: here.get(name) or published.get(name) or replace(recorded_image(name, image), local=False)
        for name, image in recorded.items()
    }
    services = {service: found[name] for service, name in document["services"].items()}
    return Release(str(document["id"]), ctx.deployment.stack.stack, str(document["variant"]), services, {})


def _deployed_from_here(runs: Path, stack: str, images: Mapping[str, ImageFact]) -> dict[str, ImageFact]:
    """Those that a run of this machine has deployed: a host may name the identity of any image that it knows of.

    What runs of other commands recorded does not count: hosts said it.
    """
    known: set[str] = set()
    for folder in sorted(runs.iterdir()) if images and runs.is_dir() else ():
        # A colleague's evidence that may not be read says nothing, and keeps nobody from going back.
        with contextlib.suppress(OSError):
            for run in stored_runs(runs, folder.name):
                document = run.document
                if document["stack"] == stack and document["command"] in _FROM_HERE:
                    recorded = (document["release"] or {}).get("images") or {}
                    known |= {str(image.get("id")) for image in recorded.values()}
    return {name: image for name, image in images.items() if image.id in known}


def _published(ctx: RunContext, images: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]) -> dict[str, ImageFact]:
    """Those that hosts can pull, as this machine finds them in their registries: a host's word is not enough."""
    deployment = ctx.deployment
    deliveries = {deployment.policies[host].delivery for host in hosts}
    try:
        return recorded_images(
            deployment.stack,
            images,
            allowed=deployment.policy.registries,
            deliveries=deliveries,
            registries=ctx.registries,
        )
    except ConfigError as error:
        raise ApplyError(
            f"the release cannot come back: {error.what}", error.where, error.hint, stage="rollback", host=hosts[0]
        ) from None


def bring_images(ctx: RunContext, back: RollbackPlan, *, leave: bool = False) -> RollbackPlan:
    """Send hosts the images that somebody removed there, or have them pull those; the way back that is left.

    Args:
        leave: hosts that cannot have theirs stay as they are, and are named, as long as others can go back.
    """
    for alike in _lacking(ctx, back):
        hosts = [host for host in alike if host in back.steps]
        try:
            _bring(ctx, back, hosts, _found(ctx, back, hosts))
        except LockedError:
            raise
        except CanaryError as error:
            if not leave:
                raise
            ctx.observe()
            lacking = {host for host in hosts if host in ctx.facts and back.steps[host].missing(ctx.facts[host])}
            lost = [host for host in back.steps if host in lacking or host not in ctx.facts]
            back = replace(back, steps={host: step for host, step in back.steps.items() if host not in lost})
            if not back.steps:
                raise
            for host in lost:
                why = error if host in lacking else ctx.state.failures.get(host, error)
                ctx.run.warn(f"not rolled back, it is left as it is: {why.what}", host, why.hint)
    return back


def _bring(ctx: RunContext, back: RollbackPlan, hosts: Sequence[str], release: Release) -> None:
    policies = ctx.deployment.policies
    pushes = [to_push(host, release, back.steps[host].services, ctx.facts[host], policies[host]) for host in hosts]
    push_steps.push(ctx, [push for of_host in pushes for push in of_host])


def settle_database(ctx: RunContext, back: RollbackPlan, moved: Migration | None = None) -> Backup | None:
    """The backup to restore on the way, None where the code goes back alone.

    Args:
        moved: what this run has done to the database, where it has moved it.

    Raises:
        ApplyError: the schema has moved, and nothing says that the earlier release can work with it.
    """
    if back.id is None or back.release.get("environment") != ctx.deployment.environment.name:
        return None
    migrations = ctx.deployment.stack.migrations
    if moved and migrations:
        schema = Schema(moved.after, moved.before, moved=True, backward_compatible=migrations.backward_compatible)
    else:
        schema = backups.schema_of(ctx, back.id)
    if not schema.moved or schema.backward_compatible:
        return None
    where = ctx.deployment.environment.name
    if not ctx.deployment.request.restore_database:
        was, has = (revision or "a revision that is not known" for revision in (schema.then, schema.now))
        raise ApplyError(
            f"the database's schema moved from {was} to {has}, and the stack does not say that the release before can "
            "work with that (migrations.backward_compatible)",
            where,
            HOW_ON,
            stage="rollback",
        )
    found = backups.find(ctx, back.id)
    if found is None:
        raise ApplyError(
            f"there is no backup of the database from when release {back.id[:12]} was left",
            where,
            "fix the release and deploy again, or restore a dump of your own and then deploy the earlier release",
            stage="rollback",
        )
    return found


def go(ctx: RunContext, back: RollbackPlan, backup: Backup | None, *, leave: bool = False) -> None:
    """Bring the images that hosts lack, restore the backup, if any, and make the change on all hosts at once.

    Args:
        leave: as for `bring_images`.

    Raises:
        ApplyError: what came back is not healthy, or something cannot be removed.
    """
    back = bring_images(ctx, back, leave=leave)
    if backup:
        restored = backups.restore(ctx, backup)
        lost = restored["window"]
        ctx.run.note(
            f"the database is as it was at {lost['from']}: what was written until {lost['until']} is only in "
            f"{restored['before']} on {backup.host}"
        )
    stages.rollback(ctx, back.operations)
