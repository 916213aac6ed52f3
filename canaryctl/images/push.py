"""Images to one host: only the layers it lacks, from where an earlier try stopped, verified, and only then tagged."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from canaryctl.config.environment import Host
from canaryctl.errors import ApplyError, HostError
from canaryctl.facts import HostFacts, lock_lost
from canaryctl.hosts import Connection
from canaryctl.hosts.ask import call
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
    connection: Connection,
    host: Host,
    facts: HostFacts,
    stack: str,
    images: Sequence[ImageFact],
    layers: Layers,
    *,
    become_password: str | None = None,
) -> dict[str, int]:
    """Layers that a push would send, each with the packed bytes still to send. Changes nothing."""
    order = _order(facts, host, stack, images, layers, ask=True)
    talk = _converse(connection, host, order, layers, become_password)
    if talk.error:
        raise _refused(host, talk.error)
    work = {layer: layers.ask(layer, _form(facts)) for layer in talk.missing}
    left = {}
    for layer, packing in work.items():
        size, sha256 = talk.staged[layer]
        left[layer] = packing.wait().size - (size if packing.begins_with(size, sha256) else 0)
    return left


def push_images(
    connection: Connection,
    host: Host,
    facts: HostFacts,
    stack: str,
    images: Sequence[ImageFact],
    layers: Layers,
    *,
    limiter: Limiter,
    progress: Progress,
    become_password: str | None = None,
    locks: Sequence[Mapping[str, str]] = (),
) -> Delivery:
    """Bring `images` to a host so that each carries its content-addressed tag and is exactly what is here.

    Args:
        locks: `path` and `owner` of the locks that must still be there.

    Raises:
        LockedError: a lock is lost.
        ApplyError: no room, the host refused an image, or what arrived is not what was sent.
        HostError: the connection was lost; what arrived waits on the host for the next push.
    """
    order = {**_order(facts, host, stack, images, layers), "locks": list(locks)}
    talk = _converse(connection, host, order, layers, become_password, limiter, progress)
    if whole := _wants_all(talk.error):  # what is staged by now need not be sent again
        talk = _converse(connection, host, {**order, "whole": True}, layers, become_password, limiter, progress)
    if talk.lost:
        raise lock_lost(host.name, talk.lost[0])
    if talk.error:
        raise _refused(host, talk.error)
    if talk.loaded is None:
        raise HostError("the receiving program ended early", host.name, "push again: it goes on from there")
    if faults := [f"{image.name}: {talk.loaded[image.id]}" for image in images if talk.loaded[image.id]]:
        raise _refused(host, "; ".join(faults))
    way = "whole archive" if whole else "layers"
    return Delivery(tuple(i.name for i in images), talk.sent, talk.resumed, talk.skipped, tuple(talk.missing), way)


def _refused(host: Host, why: str) -> ApplyError:
    return ApplyError(
        f"the images were not taken there: {why}",
        hint="nothing of them is tagged or used; fix the host, then push again: what has arrived is not sent again",
        stage="push",
        host=host.name,
    )


def _wants_all(error: str) -> bool:
    """Whether a Docker refused because the archive lacks layers that it has itself."""
    return "no such file" in error.lower() or "not found" in error.lower()


def _converse(
    connection: Connection,
    host: Host,
    order: dict[str, Any],
    layers: Layers,
    become_password: str | None,
    limiter: Limiter | None = None,
    progress: Progress = lambda _: None,
) -> Transfer:
    talk = Transfer(host.name, layers, order, limiter or Limiter(), progress)
    command, prelude = call(host, "receive", order, become_password=become_password, talk=True)
    try:
        done = connection.execute(command, talk.speak(prelude), talk.hear, timeout=None)
    except ApplyError as error:
        error.host, error.where = host.name, error.where or host.name
        raise
    except OSError as error:
        why = f"a packed layer cannot be read on this machine: {error}"
        raise ApplyError(why, hint="push again: what is missing is packed anew", stage="push", host=host.name) from None
    finally:
        talk.silence()
    if done.code != 0 and not talk.error:
        raise HostError(
            f"the receiving program failed there (exit {done.code}): {done.complaint[-300:]}",
            host.name,
            "Python 3.7 or later is needed there; push again, it goes on from what has arrived",
        )
    return talk


def _form(facts: HostFacts) -> str:
    """The compression that the host's Docker takes."""
    major = (facts.docker.version if facts.docker else "").split(".")[0]
    return "zst" if major.isdecimal() and len(major) < 6 and int(major) >= _ZSTD_SINCE else "gz"


def _order(
    facts: HostFacts,
    host: Host,
    stack: str,
    images: Sequence[ImageFact],
    layers: Layers,
    *,
    ask: bool = False,
) -> dict[str, Any]:
    return {
        "root": host.root,
        "docker_root": facts.docker.root if facts.docker else "/",
        "form": _form(facts),
        "ask": ask,
        "whole": False,
        "oci": bool(facts.docker and facts.docker.containerd_store),
        "images": [
            {
                "name": image.name,
                "id": image.id,
                "tag": content_tag(stack, image),
                "config": "" if ask else base64.b64encode(layers.config(image)).decode(),
                "layers": list(image.layers),
            }
            for image in images
        ],
    }
