"""Bring an image that a host lacks, or have the host pull it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from canaryctl.config.policy import Policy
from canaryctl.errors import ApplyError
from canaryctl.facts.host import HostFacts
from canaryctl.plan.operations.operation import Operation
from canaryctl.plan.release import ImageFact, Release, content_tag, tag_taken

HEADROOM = 1.2


@dataclass(frozen=True)
class Push(Operation):
    """Have an image on a host under its content-addressed `tag`; `pulled`: the host gets it from its registry."""

    kind = "push"
    stage = "push"

    image: ImageFact
    tag: str
    pulled: bool = False

    @property
    def what(self) -> str:
        size = f"{self.image.size / 1e6:.0f} MB{'' if self.image.local else ' compressed'}"
        origin = f", pulled from {self.image.source.partition('@')[0]}" if self.pulled else ""
        return f"{self.image.name} {self.tag} ({size}{origin})"

    @property
    def data(self) -> dict[str, Any]:
        image = self.image
        source = image.source if self.pulled else None
        return {"image": image.name, "id": image.id, "tag": self.tag, "bytes": image.size, "pulled_from": source}


def to_push(host: str, release: Release, services: Iterable[str], facts: HostFacts, policy: Policy) -> list[Push]:
    """The images of these services that a host does not have under their content-addressed tags."""
    return [
        Push(
            host,
            "present, but not under its tag" if facts.has_image(image.id) else "not on the host",
            image,
            tag,
            is_pulled(image, policy),
        )
        for image in images_of(release, services)
        if not facts.has_tagged(image.id, tag := content_tag(release.stack, image), image.layers)
    ]


def images_of(release: Release, services: Iterable[str]) -> list[ImageFact]:
    """The images of these services, each once."""
    images = [release.services[service] for service in services]
    return list({image.name: image for image in images}.values())


def is_pulled(image: ImageFact, policy: Policy) -> bool:
    """Whether a host gets the image from its registry rather than from the operator's machine."""
    return bool(image.source) and policy.delivery != "push"


def push_problems(host: str, release: Release, services: Sequence[str], facts: HostFacts) -> list[ApplyError]:
    """Why the images cannot come to a host, or must not."""
    return [
        *_same_tags(host, release, facts),
        *_room(host, images_of(release, services), facts),
        *_platform(host, images_of(release, services), facts),
    ]


def _same_tags(host: str, release: Release, facts: HostFacts) -> list[ApplyError]:
    """A tag has 48 bits of an image's identity: whoever makes two images on purpose can have them share it."""
    earlier = [there.release for there in facts.state.releases.values() if there.release]
    return [
        ApplyError(
            f"image {name} ({image.id[:26]}) has the tag of another image of an earlier release ({other[:26]})",
            hint="that does not happen by chance: ask who built it, and build it anew",
            stage="push",
            host=host,
        )
        for name, image in release.images.items()
        if (other := tag_taken(release.stack, image, earlier))
    ]


def _room(host: str, images: Sequence[ImageFact], facts: HostFacts) -> list[ApplyError]:
    missing = missing_size([image for image in images if not facts.has_image(image.id)], facts)
    docker_root = facts.docker.root if facts.docker and facts.docker.running else "/"
    disk = facts.disks.get(docker_root) or facts.disks.get("/")
    if not missing or disk is None or disk.free >= missing * HEADROOM:
        return []
    return [
        ApplyError(
            f"not enough room for the images: {missing * HEADROOM / 1e6:.0f} MB are needed in {docker_root}, "
            f"{disk.free / 1e6:.0f} MB are free",
            hint="free space there (docker system df shows what Docker holds), then run this again",
            stage="push",
            host=host,
        )
    ]


def missing_size(images: Sequence[ImageFact], facts: HostFacts) -> int:
    """Bytes that images take on a host beside what it has, each shared layer once.

    At least: where the sizes of layers are not known, an image counts as a whole or, if the host has its base, not at
    all. The push counts exactly, before it sends anything.
    """
    there = {image.layers[:n] for image in facts.images for n in range(1, len(image.layers) + 1)}
    sizes: dict[tuple[str, ...], int] = {}
    for image in images:
        if image.layer_sizes:
            for n, size in enumerate(image.layer_sizes, 1):
                sizes[image.layers[:n]] = size
        else:
            base = image.layers[:1]
            sizes[base] = max(image.size, sizes.get(base, 0))
    return sum(size for layers, size in sizes.items() if layers not in there)


def _platform(host: str, images: Sequence[ImageFact], facts: HostFacts) -> list[ApplyError]:
    return [
        ApplyError(
            f"image {image.name} is for {image.platform}, the host is linux/{facts.arch}",
            hint=f"{'publish' if image.source else 'build'} the image for the host's platform",
            stage="push",
            host=host,
        )
        for image in images
        if facts.arch and image.platform != f"linux/{facts.arch}"
    ]
