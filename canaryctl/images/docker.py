"""The operator's own Docker: inspect, build and save images through its command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from canaryctl.agent.write.atomic import write_atomic
from canaryctl.config.caches import cache_home
from canaryctl.config.reference import is_digest
from canaryctl.config.stack import Build, Stack
from canaryctl.config.within import resolve_below
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ApplyError, ConfigError
from canaryctl.images.source import overlay_store
from canaryctl.plan.release import ImageFact

_ANSWERS_IN = 120.0  # seconds


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
    done = _docker("image", "inspect", "--", *references)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    strange = [line for line in lines if "no such image" not in line.lower()]
    if done.returncode != 0 and strange:
        raise ConfigError(
            f"Docker on this machine does not answer: {strange[0]}", "", "start it, or see: canaryctl doctor"
        )
    absent = {line.rsplit(": ", 1)[-1].strip() for line in lines}
    present = [reference for reference in references if reference not in absent]
    return parse_inspected(done.stdout or "[]", present)


def parse_inspected(output: str, references: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What `docker image inspect` says of each reference: its `Id`, and what it tells besides in its right form.

    Raises:
        ConfigError: that is no answer to the question.
    """
    try:
        found = json.loads(output)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) != len(references) or not all(map(_is_inspected, found)):
        raise ConfigError("its answer is no description of images", "docker image inspect", "see: canaryctl doctor")
    return dict(zip(references, found, strict=True))


def _is_inspected(document: Any) -> bool:
    if not isinstance(document, dict) or not is_digest(document.get("Id")):
        return False
    rootfs, driver, size = (document.get(key) for key in ("RootFS", "GraphDriver", "Size"))
    layers = rootfs.get("Layers") or [] if isinstance(rootfs, dict) else []
    return (
        isinstance(rootfs, dict | None)
        and isinstance(driver, dict | None)
        and isinstance(size, int | None)
        and isinstance(layers, list)
        and all(map(is_digest, layers))
    )


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

    with subprocess.Popen(["docker", "save", "--", image], stdout=subprocess.PIPE) as save:
        with tarfile.open(fileobj=save.stdout, mode="r|") as archive:
            manifest = next((archive.extractfile(m) for m in archive if m.name == "manifest.json"), None)
            config = json.loads(manifest.read())[0]["Config"] if manifest else ""
        save.kill()
    digest = "sha256:" + config.rsplit("/", 1)[-1].removesuffix(".json")
    if not is_digest(digest):
        raise ConfigError("the identity of an image cannot be read", image, "docker save gives no manifest.json")
    cache.mkdir(parents=True, exist_ok=True)
    write_atomic(kept, digest.encode())
    return digest


def build_images(
    stack: Stack,
    names: Iterable[str],
    say: Callable[[str], None],
    *,
    project: Path | None = None,
    granted: Mapping[str, str | None] | None = None,
) -> dict[str, ImageFact]:
    """Build images one after the other (they share layers, so the next finds the last one's in the cache).

    Args:
        project: the folder that contexts may lie in, beside the stack's own; counts where the stack lies in it.
        granted: build arguments that the operator gives: a value, or None for the environment variable of that name.

    Raises:
        ConfigError: an image has no `build`, its context or Dockerfile is missing or elsewhere, or it asks for a
            variable of the operator's environment that was not granted.
        ApplyError: a build failed; its output has been passed to `say`.
    """
    wanted, granted = list(names), granted or {}
    folder = project if project and stack.directory.is_relative_to(project.resolve()) else stack.directory
    builds: dict[str, list[str]] = {}
    for name in wanted:
        build = stack.images[name].build
        if build is None:
            raise ConfigError(f"image '{name}' has no 'build'", shown(stack.file), "it is used as it is, by its tag")
        context = resolve_below(
            folder, stack.directory / build.context, what=f"the context of image {name}", where=shown(stack.file)
        )
        # Docker's client reads a Dockerfile outside the context too.
        dockerfile = resolve_below(
            folder, context / build.dockerfile, what=f"the Dockerfile of image {name}", where=shown(stack.file)
        )
        if not dockerfile.is_file():
            raise ConfigError(f"image '{name}': no Dockerfile", shown(dockerfile), "correct 'context' or 'dockerfile'")
        options = ["-f", str(dockerfile), *_build_arguments(name, build, granted, shown(stack.file))]
        options += [f"--target={build.target}"] if build.target else []
        builds[name] = [*options, str(context)]
    if unused := set(granted) - {arg for name in wanted for arg in stack.images[name].build.args}:  # type: ignore[union-attr]
        raise ConfigError(
            f"no image that is built has the argument {', '.join(sorted(unused))}", "--build-arg", "see 'build.args'"
        )
    for name, options in builds.items():
        say(f"build {name}")
        _build(stack.images[name].reference, options, say)
    return local_images(stack, wanted)


def _build_arguments(image: str, build: Build, granted: Mapping[str, str | None], where: str) -> list[str]:
    """Options for the arguments of a build. What only the operator's environment has is theirs to give."""
    taken = [key for key, value in build.args.items() if value is None and key not in granted and key in os.environ]
    if taken:
        raise ConfigError(
            f"image '{image}' asks for {', '.join(taken)} of your environment as build arguments",
            where,
            f"if it may have them: {' '.join(f'--build-arg {key}' for key in taken)}; or --build-arg {taken[0]}=VALUE",
        )
    options = []
    for key, value in {**build.args, **{key: granted[key] for key in build.args if key in granted}}.items():
        if value is not None:
            options.append(f"--build-arg={key}={value}")
        elif key in granted:
            options.append(f"--build-arg={key}")
    return options


def _build(tag: str, options: Sequence[str], say: Callable[[str], None]) -> None:
    argv = ["docker", "build", "-t", tag, *options]
    environment = dict(os.environ)
    if _docker("buildx", "version").returncode != 0:
        environment["DOCKER_BUILDKIT"] = "0"
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as process:
        tail: list[str] = []
        for line in process.stdout or ():
            tail = [*tail[-19:], line.rstrip()]
            say(line.rstrip())
    if process.returncode != 0:
        where = shown(Path(options[1]))
        raise ApplyError(f"docker build of {tag} failed: {tail[-1] if tail else ''}", where, "see above")


def _docker(*argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *argv], capture_output=True, text=True, check=False, timeout=_ANSWERS_IN)
    except subprocess.TimeoutExpired:
        what = f"Docker on this machine did not answer within {_ANSWERS_IN:.0f} s"
        raise ConfigError(what, f"docker {' '.join(argv[:2])}", "see what it is busy with: canaryctl doctor") from None
    except FileNotFoundError:
        raise ConfigError(
            "there is no docker command on this machine", "", "install Docker: canaryctl doctor"
        ) from None
