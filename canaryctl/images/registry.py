"""Published images: what a registry says that a reference stands for.

Everything but a tag is named by its hash, which is checked, and kept, since it never changes. Formats: OCI image
specification (index, manifest, configuration), and Docker's older names for the same.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canaryctl.config.caches import cache_home
from canaryctl.config.reference import Reference, is_digest
from canaryctl.errors import ConfigError
from canaryctl.facts.jsontext import parse_json
from canaryctl.images.credentials import Credential, find_credential
from canaryctl.images.distribution import INDEXES, RegistryClient, UnreachableError

_PLATFORM_PART = re.compile(r"[A-Za-z0-9_.-]{0,64}")


@dataclass(frozen=True)
class Published:
    """One image of a registry, of one platform.

    `reference` names it by its manifest's digest; `id` is the config digest, `layers` the RootFS diff ids; `sizes` are
    their bytes compressed; `platforms` are all that the reference has images for.
    """

    reference: str
    id: str
    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    platform: str
    platforms: tuple[str, ...]


class Registries:
    """The registries of one command, each opened with the credential that the operator has for it.

    Args:
        ca: file of certificate authorities trusted besides those of the system, and those that this machine's Docker
            trusts for a registry.
    """

    def __init__(self, ca: Path | None = None) -> None:
        self._ca = ca
        self.credentials: dict[str, Credential | None] = {}

    def credential(self, registry: str) -> Credential | None:
        """What the operator's Docker has for a registry, looked up once."""
        if registry not in self.credentials:
            self.credentials[registry] = find_credential(registry)
        return self.credentials[registry]

    @property
    def secrets(self) -> dict[str, str]:
        """The secret values in use, each under a name that says what it is."""
        return {
            f"{what} for {registry}": value
            for registry, credential in self.credentials.items()
            for what, value in (credential.secrets.items() if credential else ())
        }

    def resolve(
        self, wanted: Iterable[tuple[Reference, str]]
    ) -> dict[tuple[Reference, str], Published | UnreachableError]:
        """What (reference, platform such as linux/amd64) stand for, all at once.

        Raises:
            ConfigError: a registry refused, or has no such image. One that cannot be reached is given back instead.
        """
        wanted = list(dict.fromkeys(wanted))
        open_ones = {ref.registry: RegistryClient(ref, self.credential(ref.registry), self._ca) for ref, _ in wanted}

        def one(asked: tuple[Reference, str]) -> Published | UnreachableError:
            try:
                return resolve(asked[0], asked[1], open_ones[asked[0].registry].fetch)
            except UnreachableError as error:
                return error

        try:
            with ThreadPoolExecutor(max_workers=max(min(len(wanted), 8), 1)) as pool:
                return dict(zip(wanted, pool.map(one, wanted), strict=True))
        finally:
            for registry in open_ones.values():
                registry.close()


# Fetches one object of a repository: (reference, "manifests" or "blobs", digest or tag) -> bytes, media type.
Fetch = Callable[[Reference, str, str], tuple[bytes, str]]


def resolve(reference: Reference, platform: str, fetch: Fetch) -> Published:
    """Follow a reference to the image of one platform.

    Raises:
        ConfigError: there is no such image, or what it is made of is none that a host can run.
    """
    content, kind = _object(reference, "manifests", reference.digest or reference.tag, fetch)
    digest, manifest = _digest(content), _json(content, reference)
    kind = str(manifest.get("mediaType") or kind)
    platforms: tuple[str, ...] = ()
    if kind in INDEXES or "manifests" in manifest:
        entries = _objects(manifest, "manifests", reference)
        entry = choose(entries, platform)
        platforms = tuple(dict.fromkeys(_platforms(entries)))
        if entry is None:
            raise ConfigError(
                f"there is no image for {platform} there",
                str(reference),
                f"there are: {', '.join(platforms) or 'none'}; 'contract: {{platform: ...}}' chooses one",
            )
        digest = _named_digest(entry, reference)
        manifest = _json(_object(reference, "manifests", digest, fetch)[0], reference)
    if "config" not in manifest or "layers" not in manifest:
        raise ConfigError(
            "the registry has something else than an image there, or one of Docker's first format",
            str(reference),
            "publish it again with a current Docker",
        )
    packed = _objects(manifest, "layers", reference)
    identity = _named_digest(manifest["config"], reference)
    config = _json(_object(reference, "blobs", identity, fetch)[0], reference)
    found = _platform(config) or "linux/"
    return Published(
        reference=reference.at(digest),
        id=identity,
        layers=_layers(config, len(packed), reference),
        sizes=tuple(_size(layer) for layer in packed),
        platform=found,
        platforms=platforms or (found,),
    )


def choose(entries: Iterable[Mapping[str, Any]], platform: str) -> Mapping[str, Any] | None:
    """The entry of an index for a platform, the first where several fit; the only one where there is no choice."""
    images = [(entry, found) for entry in entries for found in _platforms([entry])]
    fitting = [entry for entry, found in images if found == platform]
    only = images[0][0] if len({found for _, found in images}) == 1 else None
    return next(iter(fitting), only)


def _platforms(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Signatures and build records sit in an index as images for `unknown/unknown`."""
    found = [
        _platform(about)
        for entry in entries
        if isinstance(about := entry.get("platform"), dict) and about.get("os") not in (None, "unknown")
    ]
    return [platform for platform in found if platform]


def _platform(about: Mapping[str, Any]) -> str:
    """`os/architecture`, empty where these are no names."""
    names = (about.get("os", "linux"), about.get("architecture", ""))
    good = all(isinstance(name, str) and _PLATFORM_PART.fullmatch(name) for name in names)
    return "/".join(names) if good else ""


def _layers(config: Mapping[str, Any], count: int, reference: Reference) -> tuple[str, ...]:
    rootfs = config.get("rootfs")
    layers = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(layers, list) or not layers or len(layers) != count or not all(map(is_digest, layers)):
        raise ConfigError("that is no image that runs: its layers are not told", str(reference), "publish it again")
    return tuple(layers)


def _objects(document: Mapping[str, Any], key: str, reference: Reference) -> list[Mapping[str, Any]]:
    """A list of objects in a manifest."""
    found = document.get(key) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise _malformed(reference, f"its '{key}' is no list of objects")
    return found


def _named_digest(entry: Any, reference: Reference) -> str:
    """The digest that an object of a manifest names."""
    digest = entry.get("digest") if isinstance(entry, dict) else None
    if not is_digest(digest):
        raise _malformed(reference, "it names something otherwise than by its sha256")
    return str(digest)


def _size(entry: Mapping[str, Any]) -> int:
    size = entry.get("size")
    return size if isinstance(size, int) and 0 <= size < 1 << 50 else 0


def _malformed(reference: Reference, why: str) -> ConfigError:
    return ConfigError(f"the registry's answer is no manifest: {why}", str(reference), "publish it again")


def _object(reference: Reference, kind: str, name: str, fetch: Fetch) -> tuple[bytes, str]:
    """A manifest or blob; one that is named by its hash comes from this machine where it was read before."""
    kept = None
    if ":" in name:  # no tag has one
        if not is_digest(name):
            raise _malformed(reference, "it names something otherwise than by its sha256")
        home = cache_home("manifests")
        kept = home / name.removeprefix("sha256:")
        if kept.is_file() and _digest(content := kept.read_bytes()) == name:
            return content, ""
    content, media_type = fetch(reference, kind, name)
    if kept is not None:
        if _digest(content) != name:
            raise ConfigError(
                f"the registry answers with other content than {name[:19]} names",
                str(reference),
                "something on the way changes it: do not use this registry until that is found",
            )
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = kept.with_name(f"{kept.name}.{os.getpid()}.part")
        part.write_bytes(content)
        part.replace(kept)
    return content, media_type


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(content: bytes, reference: Reference) -> dict[str, Any]:
    try:
        found = parse_json(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError("the registry's answer is no manifest", str(reference), "is that the address of a registry?")
    return found
