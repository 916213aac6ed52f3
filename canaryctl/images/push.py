"""Images to one host: only the layers it lacks, from where an earlier try stopped, verified, and only then tagged."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from canaryctl.errors import ApplyError, HostError
from canaryctl.facts import HostFacts, lock_lost
from canaryctl.hosts import CommandTimeout
from canaryctl.hosts.ask import call
from canaryctl.images.destination import SILENT, Destination, broken, silent
from canaryctl.images.layers import Layers
from canaryctl.images.transfer import Limiter, Progress, Sending, Transfer
from canaryctl.plan.release import ImageFact, content_tag

__all__ = ["Delivery", "Limiter", "Progress", "Sending", "missing_bytes", "push_images"]

_ZSTD_SINCE = 23  # the first Docker that takes layers compressed with zstd (release notes of 23.0)


@dataclass(frozen=True)
class Delivery:
    """What one host was sent: bytes that crossed the wire (before SSH), and those an earlier try had sent already.

    `skipped` counts layers that the host had. `way` is `layers`, or `whole archive` where Docker takes nothing less.
    """

    images: tuple[str, ...] = ()
    bytes: int = 0
    resumed: int = 0
    skipped: int = 0
    layers: tuple[str, ...] = ()
    way: str = "layers"


def missing_bytes(
    destination: Destination, facts: HostFacts, images: Sequence[ImageFact], layers: Layers
) -> dict[str, int]:
    """Layers that a push would send, each with the packed bytes still to send. Changes nothing."""
    transfer = _converse(destination, _order(destination, facts, images, layers, ask=True), layers)
    if transfer.error:
        raise _refused(destination, transfer.error)
    streams = {layer: layers.ask(layer, _form(facts)) for layer in transfer.missing}
    left = {}
    for layer, stream in streams.items():
        size, sha256 = transfer.staged[layer]
        left[layer] = stream.wait().size - (size if stream.begins_with(size, sha256) else 0)
    return left


def push_images(
    destination: Destination,
    facts: HostFacts,
    images: Sequence[ImageFact],
    layers: Layers,
    *,
    limiter: Limiter,
    progress: Progress,
) -> Delivery:
    """Bring `images` to a host so that each carries its content-addressed tag and is exactly what is here.

    Raises:
        LockedError: a lock is lost.
        ApplyError: no room, the host refused an image, or what arrived is not what was sent.
        HostError: the connection was lost; what arrived waits on the host for the next push.
    """
    order = _order(destination, facts, images, layers)
    transfer = _converse(destination, order, layers, limiter, progress)
    if whole := transfer.wants_whole:  # what is staged by now need not be sent again
        transfer = _converse(destination, {**order, "whole": True}, layers, limiter, progress)
    if transfer.lost:
        raise lock_lost(destination.connection.host, transfer.lost[0])
    if transfer.error:
        raise _refused(destination, transfer.error)
    if transfer.loaded is None:
        raise HostError(
            "the receiving program ended early", destination.connection.host, "push again: it goes on from there"
        )
    if faults := [f"{image.name}: {transfer.loaded[image.id]}" for image in images if transfer.loaded[image.id]]:
        raise _refused(destination, "; ".join(faults))
    return Delivery(
        tuple(image.name for image in images),
        transfer.sent,
        transfer.resumed,
        transfer.skipped,
        tuple(transfer.missing),
        "whole archive" if whole else "layers",
    )


def _refused(destination: Destination, why: str) -> ApplyError:
    return ApplyError(
        f"the images were not taken there: {why}",
        hint="nothing of them is tagged or used; fix the host, then push again: what has arrived is not sent again",
        stage="push",
        host=destination.connection.host,
    )


def _converse(
    destination: Destination,
    order: dict[str, Any],
    layers: Layers,
    limiter: Limiter | None = None,
    progress: Progress = lambda _: None,
) -> Transfer:
    connection, host = destination.connection, destination.connection.host
    transfer = Transfer(host, layers, order, limiter or Limiter(), progress)
    command, prelude = call(connection, "receive", order, talk=True)
    try:
        done = connection.execute(command, transfer.speak(prelude), transfer.hear, timeout=None, idle=SILENT)
    except CommandTimeout:
        if transfer.error:
            return transfer  # it hangs, and has said why
        raise silent(host, "takes images") from None
    except ApplyError as error:
        error.host, error.where = host, error.where or host
        raise
    except OSError as error:
        why = f"a packed layer cannot be read on this machine: {error}"
        raise ApplyError(why, hint="push again: what is missing is packed anew", stage="push", host=host) from None
    finally:
        transfer.silence()
    if done.code != 0 and not transfer.error:
        raise broken(host, "takes images", done)
    return transfer


def _form(facts: HostFacts) -> str:
    """The compression that the host's Docker takes."""
    major = (facts.docker.version if facts.docker else "").split(".")[0]
    return "zst" if major.isdecimal() and len(major) < 6 and int(major) >= _ZSTD_SINCE else "gz"


def _order(
    destination: Destination, facts: HostFacts, images: Sequence[ImageFact], layers: Layers, *, ask: bool = False
) -> dict[str, Any]:
    return {
        "docker_root": facts.docker.root if facts.docker else "/",
        "form": _form(facts),
        "ask": ask,
        "whole": False,
        "locks": list(destination.locks),
        "oci": bool(facts.docker and facts.docker.containerd_store),
        "images": [
            {
                "name": image.name,
                "id": image.id,
                "tag": content_tag(destination.stack, image),
                "config": "" if ask else base64.b64encode(layers.config(image)).decode(),
                "layers": list(image.layers),
            }
            for image in images
        ],
    }
