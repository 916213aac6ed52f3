"""Published images: what a registry says that a reference stands for.

Everything but a tag is named by its hash, which is checked, and kept, since it never changes. Formats: OCI image
specification (index, manifest, configuration), and Docker's older names for the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canaryctl.config.caches import cache_home
from canaryctl.config.reference import Reference
from canaryctl.deliver.credentials import Credential, find_credential
from canaryctl.deliver.distribution import INDEXES, RegistryClient, UnreachableError
from canaryctl.errors import ConfigError


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
        entry = choose(manifest.get("manifests") or (), platform)
        platforms = tuple(dict.fromkeys(_platforms(manifest.get("manifests") or ())))
        if entry is None:
            raise ConfigError(
                f"there is no image for {platform} there",
                str(reference),
                f"there are: {', '.join(platforms) or 'none'}; 'contract: {{platform: ...}}' chooses one",
            )
        digest = str(entry["digest"])
        manifest = _json(_object(reference, "manifests", digest, fetch)[0], reference)
    if "config" not in manifest or "layers" not in manifest:
        raise ConfigError(
            "the registry has something else than an image there, or one of Docker's first format",
            str(reference),
            "publish it again with a current Docker",
        )
    identity = str(manifest["config"]["digest"])
    config = _json(_object(reference, "blobs", identity, fetch)[0], reference)
    layers = tuple((config.get("rootfs") or {}).get("diff_ids") or ())
    if not layers or len(layers) != len(manifest["layers"]):
        raise ConfigError("that is no image that runs: its layers are not told", str(reference), "publish it again")
    found = f"{config.get('os', 'linux')}/{config.get('architecture', '')}"
    return Published(
        reference=reference.at(digest),
        id=identity,
        layers=layers,
        sizes=tuple(int(layer.get("size") or 0) for layer in manifest["layers"]),
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
    found = []
    for entry in entries:
        about = entry.get("platform") or {}
        if about.get("os") not in (None, "unknown"):
            found.append(f"{about['os']}/{about.get('architecture', '')}")
    return found


def _object(reference: Reference, kind: str, name: str, fetch: Fetch) -> tuple[bytes, str]:
    """A manifest or blob; one that is named by its hash comes from this machine where it was read before."""
    kept = None
    if name.startswith("sha256:"):
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
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError("the registry's answer is no manifest", str(reference), "is that the address of a registry?")
    return found
