"""Images that a host pulls itself, by digest, from the registry that publishes them.

The other half of the conversation is agent/write/pull.py. The credential travels on its standard input, from there to
Docker's socket, and is nowhere else on the host.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from canaryctl.errors import ApplyError
from canaryctl.facts import lock_lost
from canaryctl.hosts import CommandTimeout
from canaryctl.hosts.ask import call
from canaryctl.images.answers import Lines, counts, faults, holder, text_of, unbelievable
from canaryctl.images.credentials import Credential
from canaryctl.images.destination import SILENT, Destination, broken, silent
from canaryctl.plan.release import ImageFact, content_tag

# Called with an image's name, and its bytes that have come and those that are known to come.
Progress = Callable[[str, int, int], None]

# Docker's and registries' words -> what it is, and what the operator can do. The first that fits counts.
_REASONS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("x509", "certificate", "tls: "),
        "Docker there does not trust the registry's certificate",
        "put the authority that signed it into /etc/docker/certs.d/{registry}/ca.crt on the host",
    ),
    (
        ("server gave http response",),
        "the registry speaks plain HTTP, which Docker there refuses",
        "give the registry a certificate, or set canary_delivery: push",
    ),
    (
        ("unauthorized", "authentication required", "no basic auth", "access denied", "denied:", "forbidden"),
        "the registry refuses the credential",
        "docker login {registry} on this machine, with a user who may read the image",
    ),
    (
        ("manifest unknown", "not found", "name unknown", "does not exist"),
        "the registry does not have it any more",
        "see whether it was removed meanwhile, then deploy again",
    ),
    (
        ("no space left",),
        "there is no room",
        "free space there (docker system df shows what Docker holds), then push again",
    ),
    (
        ("too many requests", "toomanyrequests"),
        "the registry gives this address no more for now",
        "docker login {registry} on this machine, use a mirror, or wait",
    ),
    (
        ("dial tcp", "no such host", "timeout", "refused", "no route", "unreachable", "proxyconnect", "eof"),
        "the host cannot reach the registry",
        "check the network and the proxy of Docker there, or set canary_delivery: push",
    ),
)


@dataclass
class PullAnswers:
    """What the agent says, as it says it. `names` are the images' by their identities."""

    host: str
    names: dict[str, str]
    progress: Progress
    over: bool = False
    error: str = ""
    faults: dict[str, str] = field(default_factory=dict)
    lost: list[dict[str, Any] | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lines = Lines(self.host)

    def hear(self, data: bytes) -> None:
        """Take what came. Raises HostError where it is nothing that our agent would say."""
        for answer in self._lines.hear(data):
            if "image" in answer:
                image, (got, total) = answer["image"], counts(self.host, answer, "bytes", "total")
                if not isinstance(image, str) or image not in self.names:
                    unbelievable(self.host, "progress of an image that it is not to pull")
                self.progress(self.names[image], got, total)
            else:
                self.over, self.error = True, text_of(self.host, answer, "error")
                self.lost = [holder(self.host, answer)] if "lost" in answer else []
                self.faults = faults(self.host, answer, self.names, all_of_them=not self.error)


def pull_images(
    destination: Destination,
    images: Sequence[ImageFact],
    credential: Callable[[str], Credential | None],
    progress: Progress = lambda *_: None,
) -> None:
    """Have a host pull images that it lacks; each is checked, and carries its content-addressed tag afterwards.

    Args:
        credential: of a registry.

    Raises:
        LockedError: a lock is lost.
        ApplyError: Docker there could not pull an image, or got another one.
        HostError: the connection was lost; Docker keeps the layers it has and goes on from them.
    """
    connection, host = destination.connection, destination.connection.host
    order = {
        "locks": list(destination.locks),
        "images": [
            {
                "id": image.id,
                "source": image.source,
                "layers": list(image.layers),
                "tag": content_tag(destination.stack, image),
            }
            for image in images
        ],
    }
    found = {registry: credential(registry) for registry in {_registry(image) for image in images}}
    logins = {registry: login.as_header(registry) for registry, login in found.items() if login}
    command, prelude = call(connection, "pull", order, talk=True)
    answers = PullAnswers(host, {image.id: image.name for image in images}, progress)
    given = (prelude, json.dumps(logins).encode() + b"\n")
    try:
        done = connection.execute(command, given, answers.hear, timeout=None, idle=SILENT)
    except CommandTimeout:
        raise silent(host, "has Docker pull images") from None
    if not answers.over:
        raise broken(host, "has Docker pull images", done)
    if answers.lost:
        raise lock_lost(host, answers.lost[0])
    if answers.error:
        raise ApplyError(
            f"the images were not pulled there: {answers.error}",
            hint="fix Docker on the host, then push again",
            stage="push",
            host=host,
        )
    for image in images:
        if complaint := answers.faults[image.id]:
            raise refused(image, host, complaint)


def refused(image: ImageFact, host: str, complaint: str) -> ApplyError:
    """What it means that Docker could not pull an image, by its words."""
    what, hint = next(
        ((what, hint) for words, what, hint in _REASONS if any(word in complaint.lower() for word in words)),
        ("Docker there could not pull it", "look at the host's Docker log, then push again"),
    )
    return ApplyError(
        f"image {image.name} was not pulled from {image.source}: {what} ({complaint})",
        hint=hint.format(registry=_registry(image)),
        stage="push",
        host=host,
    )


def _registry(image: ImageFact) -> str:
    return image.source.partition("/")[0]
