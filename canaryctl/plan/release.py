"""A release: images by content plus the stack's files that run, with one id in every environment. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from canaryctl.config.reference import parse_reference
from canaryctl.config.stack import Stack

SHORT = 12
# Of the migrations: what is said about them, and changes nothing that runs.
_NOT_RUN = {"backup_database", "backup_user", "backward_compatible"}


@dataclass(frozen=True)
class ImageFact:
    """One image of the stack, as it is on the operator's machine or in a registry.

    `id` is the identity: the config digest (`sha256:...`). `layers` are the RootFS diff ids, in order. `size` is
    bytes unpacked, or compressed where the image is not `local`: a registry knows no more. `platform` is
    `os/architecture`. `reference` is the name it was found under. `source` is where hosts can pull it
    (`registry/name@digest`), empty for an image of this machine alone; `platforms` are all that its reference has.
    `layer_sizes` are bytes unpacked of each layer, where they can be told; estimated where the image is not `local`.
    """

    name: str
    id: str
    reference: str
    size: int
    layers: tuple[str, ...]
    platform: str
    source: str = ""
    platforms: tuple[str, ...] = ()
    local: bool = True
    layer_sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Release:
    """What is deployed. `services` maps every service of the variant to its image; `files` paths to sha256."""

    id: str
    stack: str
    variant: str
    services: Mapping[str, ImageFact]
    files: Mapping[str, str]

    def tag(self, service: str) -> str:
        """The content-addressed tag a service's image carries on hosts."""
        return content_tag(self.stack, self.services[service])

    @property
    def tags(self) -> dict[str, str]:
        """The same of every service."""
        return {service: self.tag(service) for service in self.services}

    @property
    def images(self) -> dict[str, ImageFact]:
        """The distinct images, by their name in the stack file."""
        return {image.name: image for image in self.services.values()}

    def as_dict(self) -> dict[str, Any]:
        """The `release` object of run.json, without the migration."""
        return {
            "id": self.id,
            "images": {
                name: {"id": image.id, "tag": content_tag(self.stack, image), "size": image.size}
                | ({"source": image.source} if image.source else {})
                for name, image in sorted(self.images.items())
            },
            "services": {service: image.name for service, image in self.services.items()},
            "files": dict(self.files),
        }


def recorded_image(name: str, image: Mapping[str, Any]) -> ImageFact:
    """An image as a release.json has it, by its content-addressed tag; layers and platform are not recorded."""
    size = image.get("size")
    return ImageFact(
        name,
        str(image["id"]),
        str(image["tag"]),
        size if isinstance(size, int) and 0 < size < 1 << 50 else 0,
        (),
        "",
        str(image.get("source") or ""),
    )


def source_allowed(stack: Stack, source: str, registries: Iterable[str] = ()) -> bool:
    """Whether hosts may pull `source` (`registry/name@digest`), which a host's record names, with a credential of ours.

    That is so for the repositories that the stack's `ref`s name, and for those that begin with one of `registries`
    (`canary_registries`: a registry, or a registry and the beginning of names in it).
    """
    try:
        wanted = parse_reference(source)
    except ValueError:
        return False
    if not wanted.digest or str(wanted) != source:
        return False
    named = {parse_reference(image.ref).repository for image in stack.images.values() if image.ref}
    return wanted.repository in named or any(f"{wanted.repository}/".startswith(f"{one}/") for one in registries)


def content_tag(stack: str, image: ImageFact) -> str:
    """`canaryctl/<stack>/<image>:sha256-<first 12 hex digits of the identity>`; why the prefix: docs/decisions/0001."""
    return f"canaryctl/{stack}/{image.name.lower()}:sha256-{image.id.removeprefix('sha256:')[:SHORT]}"


def tag_taken(stack: str, image: ImageFact, releases: Iterable[Mapping[str, Any]]) -> str:
    """The identity of another image that has the same tag in one of these release.json, '' where none has."""
    tag = content_tag(stack, image)
    recorded = [one for release in releases for one in (release.get("images") or {}).values() if one.get("tag") == tag]
    return next((str(one.get("id")) for one in recorded if one.get("id") != image.id), "")


def make_release(stack: Stack, variant: str, images: Mapping[str, ImageFact], files: Mapping[str, bytes]) -> Release:
    """The release of a variant.

    Args:
        images: by name in the stack file; at least those the variant uses.
        files: contents of the compose template and the assets, by path relative to the stack file.
    """
    services = {service: images[image] for service, image in stack.variants[variant].items()}
    hashes = {path: sha256(content) for path, content in sorted(files.items())}
    identity: dict[str, str] = {service: image.id for service, image in services.items()}
    identity |= hashes
    identity["stack.yml#placement"] = sha256(canonical({g: list(s) for g, s in stack.placement.items()}))
    if stack.migrations:
        migrations = stack.migrations.model_dump(mode="json", exclude=_NOT_RUN)
        identity["stack.yml#migrations"] = sha256(canonical(migrations))
    return Release(id=sha256(canonical(identity)), stack=stack.stack, variant=variant, services=services, files=hashes)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no white space: the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def sha256(content: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(content).hexdigest()
