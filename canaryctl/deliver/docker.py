"""The operator's own Docker: inspect, build and save images through its command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from canaryctl.config.caches import cache_home
from canaryctl.config.stack import Build, Stack
from canaryctl.config.yamlfile import shown
from canaryctl.deliver.source import overlay_store
from canaryctl.errors import ApplyError, ConfigError
from canaryctl.plan.release import ImageFact


def local_images(
    stack: Stack, names: Iterable[str], overrides: Mapping[str, str] | None = None
) -> dict[str, ImageFact]:
    """The stack's images on this machine, by their names in the stack file.

    Args:
        overrides: image name to another local reference that stands in for it (`--image NAME=REF`).

    Raises:
        ConfigError: Docker does not answer, or an image has not been built (all of them are listed).
    """
    overrides = overrides or {}
    for name in overrides:
        if name not in stack.images:
            raise ConfigError(f"--image: no image '{name}'", shown(stack.file), f"there are: {', '.join(stack.images)}")
    names = list(names)
    if not names:
        return {}
    references = {name: overrides.get(name) or stack.images[name].reference for name in names}
    found = _inspect(sorted(set(references.values())))
    missing = {name: reference for name, reference in references.items() if reference not in found}
    if missing:
        listed = ", ".join(f"{name} ({reference})" for name, reference in missing.items())
        buildable = [name for name in missing if stack.images[name].build and name not in overrides]
        hint = f"build them: canaryctl build {' '.join(buildable)}" if buildable else "docker pull or build them first"
        raise ConfigError(f"images are not on this machine: {listed}", shown(stack.file), hint)
    return _with_sizes({name: _image_fact(name, ref, found[ref]) for name, ref in references.items()})


def images_by_id(wanted: Mapping[str, tuple[str, Sequence[str]]]) -> dict[str, ImageFact]:
    """Images of this machine by their identity, whatever their tags say; those that are not here are left out.

    Args:
        wanted: by name the identity, and references under which an image store that knows no identities may have it.

    Raises:
        ConfigError: Docker does not answer.
    """
    names = {reference for identity, references in wanted.values() for reference in (identity, *references)}
    found = _inspect(sorted(names)) if names else {}
    facts: dict[str, ImageFact] = {}
    for name, (identity, references) in wanted.items():
        for reference in (identity, *references):
            if reference in found and (fact := _image_fact(name, reference, found[reference])).id == identity:
                facts[name] = fact
                break
    return _with_sizes(facts)


def _with_sizes(facts: dict[str, ImageFact]) -> dict[str, ImageFact]:
    store = overlay_store(facts.values()) if facts else None
    return {name: replace(image, layer_sizes=store.sizes(image)) for name, image in facts.items()} if store else facts


def _inspect(references: list[str]) -> dict[str, dict[str, Any]]:
    """`docker image inspect` of several references in one call; those not there are left out."""
    done = _docker("image", "inspect", *references)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    strange = [line for line in lines if "no such image" not in line.lower()]
    if done.returncode != 0 and strange:
        raise ConfigError(
            f"Docker on this machine does not answer: {strange[0]}", "", "start it, or see: canaryctl doctor"
        )
    absent = {line.rsplit(": ", 1)[-1].strip() for line in lines}
    there = [reference for reference in references if reference not in absent]
    return dict(zip(there, json.loads(done.stdout or "[]"), strict=True))


def _image_fact(name: str, reference: str, document: Mapping[str, Any]) -> ImageFact:
    identity = str(document["Id"])
    if _names_manifests(document):
        identity = _config_digest(identity)
    return ImageFact(
        name=name,
        id=identity,
        reference=reference,
        size=int(document.get("Size") or 0),
        layers=tuple((document.get("RootFS") or {}).get("Layers") or ()),
        platform=f"{document.get('Os', 'linux')}/{document.get('Architecture', '')}",
    )


def _names_manifests(document: Mapping[str, Any]) -> bool:
    """Whether an image's id is that of a manifest, as in containerd's store; elsewhere it is that of a config."""
    if document.get("Descriptor"):  # since Docker 28 it says so
        return True
    if (document.get("GraphDriver") or {}).get("Data"):  # only the classic stores tell their folders
        return False
    return "io.containerd.snapshotter" in _docker("info", "--format", "{{json .DriverStatus}}").stdout


def _config_digest(image: str) -> str:
    """The config digest behind a manifest digest, from the archive Docker saves; kept, since it never changes."""
    cache = cache_home("identities")
    kept = cache / image.removeprefix("sha256:")
    if kept.is_file():
        return kept.read_text().strip()
    import tarfile

    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save:
        with tarfile.open(fileobj=save.stdout, mode="r|") as archive:
            manifest = next((archive.extractfile(m) for m in archive if m.name == "manifest.json"), None)
            config = json.loads(manifest.read())[0]["Config"] if manifest else ""
        save.kill()
    if not config:
        raise ConfigError(f"the identity of image {image} cannot be read", "", "docker save gives no manifest.json")
    digest = "sha256:" + config.rsplit("/", 1)[-1].removesuffix(".json")
    cache.mkdir(parents=True, exist_ok=True)
    kept.write_text(digest)
    return digest


def build_images(stack: Stack, names: Iterable[str], say: Callable[[str], None]) -> dict[str, ImageFact]:
    """Build images one after the other (they share layers, so the next finds the last one's in the cache).

    Raises:
        ConfigError: an image has no `build`, or its context or Dockerfile is missing.
        ApplyError: a build failed; its output has been passed to `say`.
    """
    wanted = list(names)
    builds: dict[str, Build] = {}
    for name in wanted:
        build = stack.images[name].build
        if build is None:
            raise ConfigError(f"image '{name}' has no 'build'", shown(stack.file), "it is used as it is, by its tag")
        dockerfile = stack.directory / build.context / build.dockerfile
        if not dockerfile.is_file():
            raise ConfigError(f"image '{name}': no Dockerfile", shown(dockerfile), "mend 'context' or 'dockerfile'")
        builds[name] = build
    for name, build in builds.items():
        say(f"build {name}")
        _build(stack.directory, build, stack.images[name].reference, say)
    return local_images(stack, wanted)


def _build(directory: Path, build: Build, tag: str, say: Callable[[str], None]) -> None:
    context = directory / build.context
    argv = ["docker", "build", "-t", tag, "-f", str(context / build.dockerfile)]
    for key, value in build.args.items():
        argv += ["--build-arg", key if value is None else f"{key}={value}"]
    if build.target:
        argv += ["--target", build.target]
    environment = dict(os.environ)
    if _docker("buildx", "version").returncode != 0:
        environment["DOCKER_BUILDKIT"] = "0"
    with subprocess.Popen(
        [*argv, str(context)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as process:
        tail: list[str] = []
        for line in process.stdout or ():
            tail = [*tail[-19:], line.rstrip()]
            say(line.rstrip())
    if process.returncode != 0:
        raise ApplyError(
            f"docker build of {tag} failed: {tail[-1] if tail else ''}", shown(context / build.dockerfile), "see above"
        )


def _docker(*argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *argv], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigError(
            "there is no docker command on this machine", "", "install Docker: canaryctl doctor"
        ) from None
