"""Check the images' contracts: here before anything is changed, on hosts before anything starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from canaryctl.contract import Cache, Job, Place, Row, Subject, check_all, here, is_known, read_layers
from canaryctl.deploy.context import RunContext
from canaryctl.errors import ContractError, UnjudgedError
from canaryctl.plan.gpus import run_options
from canaryctl.plan.operations.push import Push
from canaryctl.plan.plan import Plan
from canaryctl.plan.release import ImageFact, content_tag

_HINT = "fix the image, or its contract in the stack file (docs/contracts.md); --no-contract goes on without"


def check_here(ctx: RunContext, plan: Plan) -> None:
    """Check the images that a plan pushes and this machine has. Of those that are there, what is remembered counts.

    Raises:
        ContractError: an image does not keep its contract.
        UnjudgedError: whether one does could not be told.
    """
    if not ctx.deployment.request.contracts:
        ctx.run.note("contracts were not checked (--no-contract)")
        return
    release = ctx.deployment.release
    hosts = [host for host in ctx.targets if host in ctx.facts]
    lacking = {push.image.name for push in plan.of(Push)}
    wanted = {name for host in hosts for name in _images_of(ctx, host)}
    place, cache = here(), Cache()
    jobs = [
        Job(place, subject_of(ctx, image, image.reference))
        for image in release.images.values()
        if image.local and image.name in wanted
    ]
    _check(ctx, [job for job in jobs if job.subject.name in lacking or is_known(cache, job)])


def check_on_hosts(ctx: RunContext, plan: Plan) -> None:
    """Check on hosts what only they can tell: images that they pulled themselves, and what needs a GPU.

    A host that is not changed has passed before, or was told not to be asked.

    Raises:
        ContractError, UnjudgedError: as `check_here`.
    """
    if not ctx.deployment.request.contracts or not plan.operations:
        return
    jobs: list[Job] = []
    skipped: list[Row] = []
    for image in ctx.deployment.release.images.values():
        hosts = [host for host in ctx.facts if host in ctx.targets and image.name in _images_of(ctx, host)]
        if hosts and not image.local:
            jobs.append(_job(ctx, image, hosts[0]))
        if hosts and ctx.deployment.stack.images[image.name].contract.needs_gpu:
            with_gpu = [host for host in hosts if ctx.facts[host].gpus]
            jobs += [_job(ctx, image, host, gpu=True) for host in with_gpu]
            skipped += [] if with_gpu else _skipped(ctx, image, hosts)
    _record(ctx, skipped)
    _check(ctx, jobs)


def record_layers(ctx: RunContext) -> None:
    """Put the layers of the images that this machine has into the record, for reports to draw."""
    cache, place, secrets = Cache(), here(), ctx.deployment.stack.secrets
    found: dict[str, Any] = {}
    for name, image in ctx.deployment.release.images.items():
        if image.local:
            layers = cache.layers(image.id, secrets)
            if layers is None:
                layers = read_layers(place, image.reference, secrets)
                cache.keep_layers(image.id, secrets, layers)
            found[name] = layers
    ctx.run.image_layers(found)


def subject_of(ctx: RunContext, image: ImageFact, reference: str) -> Subject:
    stack = ctx.deployment.stack
    return Subject(image.name, image.id, image.layers, reference, stack.images[image.name].contract, stack.secrets)


def _images_of(ctx: RunContext, host: str) -> set[str]:
    release = ctx.deployment.release
    return {release.services[service].name for service in ctx.targets[host].rendering.services}


def _job(ctx: RunContext, image: ImageFact, host: str, *, gpu: bool = False) -> Job:
    facts = ctx.facts[host]
    place = Place(host, ctx.fleet.get(host), facts.sudo, run_options(facts, ctx.deployment.policies[host]))
    subject = subject_of(ctx, image, content_tag(ctx.deployment.release.stack, image))
    on = ", ".join([host, *(f"{card.name} {card.driver}" for card in facts.gpus)])
    return Job(place, subject, gpu, on)


def _skipped(ctx: RunContext, image: ImageFact, hosts: Sequence[str]) -> list[Row]:
    contract = ctx.deployment.stack.images[image.name].contract
    reason = f"it needs a GPU, and no host that gets the image has one ({', '.join(hosts)})"
    checks = contract.gpu_checks
    return [Row(image.name, check, "skipped", reason=reason, where="nowhere") for check in checks]


def _check(ctx: RunContext, jobs: Sequence[Job]) -> None:
    """Check, record what came of it, and stop where an image does not pass."""
    if not jobs:
        return
    began = time.monotonic()
    ctx.run.event("stage.started", stage="contract")
    rows = check_all(jobs, Cache(), lambda row: ctx.run.event("contract.finished", **row.as_dict()))
    _record(ctx, rows)
    status = "ok" if all(row.verdict == "passed" for row in rows) else "failed"
    ctx.run.event("stage.finished", stage="contract", status=status, seconds=round(time.monotonic() - began, 3))
    broken = [row for row in rows if row.verdict == "failed"]
    unjudged = [row for row in rows if row.verdict == "inconclusive"]
    references = {job.subject.name: job.subject.reference for job in jobs}
    for found, error in ((broken, ContractError), (unjudged, UnjudgedError)):
        if found:
            faults = "\n".join(f"{row.image}: {row.check}: {row.reason}" for row in found)
            where = ", ".join(dict.fromkeys(references[row.image] for row in found))
            kind = "contract broken" if error is ContractError else "contract not judged"
            raise error(f"{kind}: {faults}", where, _HINT)


def _record(ctx: RunContext, rows: Sequence[Row]) -> None:
    ctx.state.contracts += rows
    ctx.run.set("contracts", [row.as_dict() for row in ctx.state.contracts])
