"""The name of a published image, as Docker reads it: `[registry/]name[:tag][@digest]`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

DOCKER_HUB = "docker.io"
_REGISTRY = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(:\d+)?")
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"\w[\w.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

# A registry, with or without the beginning of the names of repositories in it.
REPOSITORY_START = re.compile(rf"{_REGISTRY.pattern}(/{_NAME.pattern})?")


@dataclass(frozen=True)
class Reference:
    """An image in a registry. A `digest` says everything, a `tag` beside it nothing."""

    registry: str
    name: str
    tag: str = "latest"
    digest: str = ""

    @property
    def repository(self) -> str:
        """Registry and name."""
        return f"{self.registry}/{self.name}"

    @property
    def local(self) -> bool:
        """Whether the registry is on this very machine; such a one alone may go without TLS, as with Docker."""
        host = self.registry.rsplit(":", 1)[0] if not self.registry.endswith("]") else self.registry
        return is_loopback(host.strip("[]"))

    def at(self, digest: str) -> str:
        """The one image of this name whose manifest has `digest`."""
        return f"{self.repository}@{digest}"

    def __str__(self) -> str:
        return self.at(self.digest) if self.digest else f"{self.repository}:{self.tag}"


def is_digest(value: object) -> bool:
    """Whether this is a digest as images and layers are named by: nothing else may be taken for one."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def is_loopback(host: str) -> bool:
    """Whether a host name or address stands for the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def parse_reference(text: str) -> Reference:
    """Read a reference. A first part without a dot or colon is part of a name on Docker Hub, as with Docker.

    Raises:
        ValueError: not a reference, and why.
    """
    rest, _, digest = text.partition("@")
    first, slash, path = rest.partition("/")
    if not slash or not (set(".:") & set(first) or first == "localhost"):
        first, path = DOCKER_HUB, rest if slash else f"library/{rest}"
    if first == "index.docker.io":
        first = DOCKER_HUB
    name, _, tag = path.partition(":")
    checks = ((_REGISTRY, first), (_NAME, name), (_TAG, tag or "latest"), (_DIGEST, digest or f"sha256:{'0' * 64}"))
    if ("@" in text and not digest) or (":" in path and not tag):
        raise ValueError(f"'{text}' is no image reference: it ends where a tag or digest should be")
    for pattern, part in checks:
        if not pattern.fullmatch(part):
            raise ValueError(f"'{text}' is no image reference ('{part}'): write registry/name:tag or name@sha256:...")
    return Reference(first, name, tag or "latest", digest)
