"""Check the images' contracts: here before anything is changed, on hosts before anything starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from canaryctl.contract import Cache, Job, Place, Row, Subject, check_all, here, is_known, read_layers
from canaryctl.deploy.context import Work
from canaryctl.errors import ContractError, UnjudgedError
from canaryctl.plan.gpus import run_options
from canaryctl.plan.plan import Plan, needed_images
from canaryctl.plan.release import ImageFact, content_tag

_HINT = "fix the image, or its contract in the stack file (docs/contracts.md); --no-contract goes on without"


def check_here(work: Work) -> None:
    """Check the images that some host lacks and this machine has. Of those that are there, what is remembered counts.

    Raises:
        ContractError: an image does not keep its contract.
        UnjudgedError: whether one does could not be told.
    """
    if not work.scene.request.contracts:
        work.run.note("contracts were not checked (--no-contract)")
        return
    release = work.scene.release
    hosts = [host for host in work.targets if host in work.facts]
    lacking = {image.name for host in hosts for image in needed_images(release, work.targets[host], work.facts[host])}
    wanted = {name for host in hosts for name in _images_of(work, host)}
    place, cache = here(), Cache()
    jobs = [
        Job(place, subject_of(work, image, image.reference))
        for image in release.images.values()
        if image.local and image.name in wanted
    ]
    _check(work, [job for job in jobs if job.subject.name in lacking or is_known(cache, job)])


def check_on_hosts(work: Work, plan: Plan) -> None:
    """Check on hosts what only they can tell: images that they pulled themselves, and what needs a GPU.

    A host that is not changed has passed before, or was told not to be asked.

    Raises:
        ContractError, UnjudgedError: as `check_here`.
    """
    if not work.scene.request.contracts or not plan.changes:
        return
    jobs: list[Job] = []
    skipped: list[Row] = []
    for image in work.scene.release.images.values():
        hosts = [host for host in work.facts if host in work.targets and image.name in _images_of(work, host)]
        if hosts and not image.local:
            jobs.append(_job(work, image, hosts[0]))
        if hosts and work.scene.stack.images[image.name].contract.needs_gpu:
            with_gpu = [host for host in hosts if work.facts[host].gpus]
            jobs += [_job(work, image, host, gpu=True) for host in with_gpu]
            skipped += [] if with_gpu else _skipped(work, image, hosts)
    _record(work, skipped)
    _check(work, jobs)


def record_layers(work: Work) -> None:
    """Put the layers of the images that this machine has into the record, for reports to draw."""
    if "release" not in work.scene.__dict__:
        return
    cache, place, secrets = Cache(), here(), work.scene.stack.secrets
    recorded: dict[str, Any] = work.run.document["release"]["images"]
    for name, image in work.scene.release.images.items():
        if image.local and name in recorded:
            layers = cache.layers(image.id, secrets)
            if layers is None:
                layers = read_layers(place, image.reference, secrets)
                cache.keep_layers(image.id, secrets, layers)
            recorded[name]["layers"] = layers


def subject_of(work: Work, image: ImageFact, reference: str) -> Subject:
    stack = work.scene.stack
    return Subject(image.name, image.id, image.layers, reference, stack.images[image.name].contract, stack.secrets)


def _images_of(work: Work, host: str) -> set[str]:
    release = work.scene.release
    return {release.services[service].name for service in work.targets[host].rendering.services}


def _job(work: Work, image: ImageFact, host: str, *, gpu: bool = False) -> Job:
    facts = work.facts[host]
    place = Place(host, work.connections.get(host), facts.sudo, run_options(facts, work.scene.policies[host]))
    subject = subject_of(work, image, content_tag(work.scene.release.stack, image))
    on = ", ".join([host, *(f"{card.name} {card.driver}" for card in facts.gpus)])
    return Job(place, subject, gpu, on)


def _skipped(work: Work, image: ImageFact, hosts: Sequence[str]) -> list[Row]:
    contract = work.scene.stack.images[image.name].contract
    reason = f"it needs a GPU, and no host that gets the image has one ({', '.join(hosts)})"
    checks = contract.gpu_checks
    return [Row(image.name, check, "skipped", reason=reason, where="nowhere") for check in checks]


def _check(work: Work, jobs: Sequence[Job]) -> None:
    """Check, record what came of it, and stop where an image does not pass."""
    if not jobs:
        return
    began = time.monotonic()
    work.run.event("stage.started", stage="contract")
    rows = check_all(jobs, Cache(), lambda row: work.run.event("contract.finished", **row.as_dict()))
    _record(work, rows)
    status = "ok" if all(row.verdict == "passed" for row in rows) else "failed"
    work.run.event("stage.finished", stage="contract", status=status, seconds=round(time.monotonic() - began, 3))
    broken = [row for row in rows if row.verdict == "failed"]
    unjudged = [row for row in rows if row.verdict == "inconclusive"]
    references = {job.subject.name: job.subject.reference for job in jobs}
    for found, error in ((broken, ContractError), (unjudged, UnjudgedError)):
        if found:
            said = "\n".join(f"{row.image}: {row.check}: {row.reason}" for row in found)
            where = ", ".join(dict.fromkeys(references[row.image] for row in found))
            kind = "contract broken" if error is ContractError else "contract not judged"
            raise error(f"{kind}: {said}", where, _HINT)


def _record(work: Work, rows: Sequence[Row]) -> None:
    work.run.set("contracts", [*work.run.document["contracts"], *(row.as_dict() for row in rows)])
