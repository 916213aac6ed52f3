"""Images on hosts: push, pull, what a push would send, and what can go afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from canaryctl.agent.write.receive import UNPACKED_IN
from canaryctl.deploy.context import RunContext
from canaryctl.errors import CanaryError, HostError
from canaryctl.hosts import Connection
from canaryctl.images.destination import Destination
from canaryctl.images.layers import Layers
from canaryctl.images.prune import prune as prune_host
from canaryctl.images.pull import pull_images
from canaryctl.images.push import Delivery, Limiter, Progress, Sending, missing_bytes, push_images
from canaryctl.plan.operations.push import Push
from canaryctl.plan.plan import Plan
from canaryctl.plan.release import ImageFact


def push(ctx: RunContext, pushes: Sequence[Push]) -> None:
    """Bring images to hosts, or have hosts pull them, all hosts in parallel."""
    ctx.fleet.locks.require_held()
    layers = _layers(pushes)

    def one(host: str) -> None:
        began = time.monotonic()
        pulled, pushed = _ways(pushes, host)
        try:
            if pulled:
                _pull(ctx, host, pulled)
            sent = Delivery()
            if pushed:
                sent = push_images(
                    _destination(ctx, ctx.fleet.get(host)),
                    ctx.facts[host],
                    pushed,
                    layers,
                    limiter=Limiter(ctx.deployment.request.bandwidth),
                    progress=_push_progress(ctx, host),
                )
        except CanaryError as error:
            if isinstance(error, HostError) and error.reason == "unreachable":
                error.what = f"lost in push: {error.what}"
            ctx.run.stage("push", host, "failed", time.monotonic() - began, message=error.what)
            raise
        ctx.run.stage(
            "push",
            host,
            "changed",
            time.monotonic() - began,
            bytes=sent.bytes,
            resumed=sent.resumed,
            skipped=sent.skipped,
            images=list(sent.images),
            layers=list(sent.layers),
            way=sent.way,
            pulled=[image.source for image in pulled] or None,
        )

    try:
        _in_parallel(ctx, "push", list(dict.fromkeys(push.host for push in pushes)), one)
    finally:
        layers.close()


def bytes_to_push(ctx: RunContext, plan: Plan) -> dict[str, dict[str, Any]]:
    """What a push would send to each host: compressed bytes, the layers they are, and what the host would pull."""
    pushes = plan.of(Push)
    layers = _layers(pushes)

    def one(connection: Connection) -> dict[str, Any]:
        pulled, images = _ways(pushes, connection.host)
        facts = ctx.facts[connection.host]
        found = missing_bytes(_destination(ctx, connection), facts, images, layers) if images else {}
        sent = {"bytes": sum(found.values()), "images": [image.name for image in images], "layers": list(found)}
        return sent | ({"pulled": [image.source for image in pulled]} if pulled else {})

    try:
        found, lost = ctx.fleet.each([host for host in ctx.targets if host in ctx.facts], one)
    finally:
        layers.close()
    ctx.state.failures |= lost
    return found


def _layers(pushes: Sequence[Push]) -> Layers:
    """The layers of the images that this machine sends."""
    return Layers({push.image.id: push.image for push in pushes if not push.pulled}.values())


def _ways(pushes: Sequence[Push], host: str) -> tuple[list[ImageFact], list[ImageFact]]:
    """The images that a host pulls, and those that it is sent."""
    pulled, pushed = ([p.image for p in pushes if p.host == host and p.pulled is way] for way in (True, False))
    return pulled, pushed


def _destination(ctx: RunContext, connection: Connection) -> Destination:
    return Destination(connection, ctx.deployment.stack.stack, ctx.fleet.locks.held_on(connection.host))


def _pull(ctx: RunContext, host: str, images: Sequence[ImageFact]) -> None:
    def progress(image: str, got: int, total: int) -> None:
        ctx.run.event("push.progress", stage="push", host=host, image=image, bytes=got, total=total, pulled=True)

    pull_images(_destination(ctx, ctx.fleet.get(host)), images, ctx.registries.credential, progress)


def prune(ctx: RunContext) -> None:
    """Remove images and releases that nothing needs any more. What cannot be removed is a warning."""

    def one(connection: Connection) -> None:
        began = time.monotonic()
        host = connection.host
        gone = prune_host(_destination(ctx, connection))
        if gone.images or gone.releases:
            seconds, releases = time.monotonic() - began, list(gone.releases)
            ctx.run.stage("prune", host, "changed", seconds, images=list(gone.images), releases=releases)
            ctx.run.note(
                f"{host}: removed what earlier releases left: {len(gone.images)} images "
                f"({', '.join(gone.images) or 'none'}), {len(releases)} release folders"
            )
        for name, paths in gone.kept.items():
            ctx.run.note(f"{host}: release {name[:12]} stays, since somebody wrote into it: {', '.join(paths)}")
        for what, why in gone.faults.items():
            ctx.run.warn(f"{what} could not be removed: {why}", host, "it does no harm but takes room")

    _, lost = ctx.fleet.each([host for host in ctx.targets if host in ctx.facts], one)
    for error in lost.values():
        ctx.run.warn(f"old images were not removed: {error.what}", error.where, error.hint)


def _push_progress(ctx: RunContext, host: str) -> Progress:
    """Makes events of what a transfer reports; the record takes as many as are good for it."""
    began = time.monotonic()

    def report(sending: Sending) -> None:
        far = {key: value for key, value in vars(sending).items() if key != "arrived"}
        rate = sending.bytes / (time.monotonic() - began) or 1
        if sending.arrived:
            ctx.run.event("push.arrived", stage="push", host=host, rate=round(rate), deadline=UNPACKED_IN, **far)
        else:
            eta = round((sending.total - sending.bytes) / rate, 1)
            ctx.run.event("push.progress", stage="push", host=host, rate=round(rate), eta=eta, **far)

    return report


def _in_parallel(ctx: RunContext, stage: str, hosts: Sequence[str], one: Callable[[str], Any]) -> None:
    """Do `one` on every host; the others go on when one fails, and the worst error is raised at the end."""
    ctx.run.event("stage.started", stage=stage, hosts=list(hosts))
    _, errors = ctx.fleet.at_once(hosts, one)
    if errors:
        raise next((error for error in errors.values() if isinstance(error, HostError)), next(iter(errors.values())))
