"""The images of a release: from the operator's Docker, or from the registry that publishes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from canaryctl.config.reference import parse_reference
from canaryctl.config.stack import Image, Stack
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError
from canaryctl.images.distribution import UnreachableError
from canaryctl.images.docker import local_images
from canaryctl.images.registry import Published, Registries
from canaryctl.plan.release import ImageFact, source_allowed

# What is asked for where neither the image's contract nor the hosts say otherwise.
USUAL_PLATFORM = "linux/amd64"
# Unpacked layers are about this much bigger than what a registry says of them.
_UNPACKED = 3


def release_images(
    stack: Stack,
    names: Iterable[str],
    overrides: Mapping[str, str],
    *,
    deliveries: Iterable[str],
    registries: Registries,
    platform: str = USUAL_PLATFORM,
) -> dict[str, ImageFact]:
    """The stack's images by name. Those with a `ref` are resolved, unless an override (a local reference) stands in.

    Args:
        deliveries: `canary_delivery` of the hosts that get images.
        platform: taken from references that have several; an image's contract goes before it.

    Raises:
        ConfigError: an image is not where it should be, or cannot be delivered as the environment wants.
    """
    names, deliveries = list(names), set(deliveries)
    published = [name for name in names if stack.images[name].ref and name not in overrides]
    local = [name for name in names if name not in published]
    if local and "pull" in deliveries:
        raise ConfigError(
            f"canary_delivery is pull, but no registry has {', '.join(local)}: it is an image of this machine",
            shown(stack.file),
            "publish it and give its 'ref', or set canary_delivery: auto",
        )
    found = local_images(stack, local, overrides) if local or overrides else {}
    if published:
        found |= _published(stack, published, registries, platform, pushed="push" in deliveries)
    return found


def _published(
    stack: Stack, names: list[str], registries: Registries, platform: str, *, pushed: bool
) -> dict[str, ImageFact]:
    wanted = {
        name: (parse_reference(stack.images[name].reference), stack.images[name].contract.platform or platform)
        for name in names
    }
    answers = registries.resolve(wanted.values())
    facts = {}
    for name, asked in wanted.items():
        answer = answers[asked]
        if pushed:
            facts[name] = _from_here(stack, name, answer)
        elif isinstance(answer, UnreachableError):
            raise answer
        else:
            facts[name] = ImageFact(
                name=name,
                id=answer.id,
                reference=stack.images[name].reference,
                size=sum(answer.sizes),
                layers=answer.layers,
                platform=answer.platform,
                source=answer.reference,
                platforms=answer.platforms,
                local=False,
                layer_sizes=tuple(size * _UNPACKED for size in answer.sizes),
            )
    return facts


def recorded_images(
    stack: Stack,
    recorded: Mapping[str, Mapping[str, Any]],
    *,
    allowed: Iterable[str],
    deliveries: Iterable[str],
    registries: Registries,
) -> dict[str, ImageFact]:
    """Images of a host's release.json that have a `source`, as their registries describe them to this machine.

    Where a host is sent all of its images (`push`), none: they have to come from this machine.

    Args:
        recorded: by name, `id` and `source`.
        allowed: registries besides those of the stack (`canary_registries`).

    Raises:
        ConfigError: a source is in no registry of the stack, cannot be reached, or is not the image that is recorded.
    """
    sources = {name: str(image["source"]) for name, image in recorded.items() if image.get("source")}
    allowed = tuple(allowed)
    for name, source in sources.items():
        if not source_allowed(stack, source, allowed):
            raise ConfigError(
                f"image {name}: its source {source[:200]!r} is no registry of this stack",
                shown(stack.file),
                "a host's record names it: look at that host; or list the registry in canary_registries if it is yours",
            )
    if not sources or "push" in (deliveries := set(deliveries)):
        return {}
    then = {
        name: (stack.images.get(name) or Image(ref=source)).model_copy(
            update={"ref": source, "tag": None, "build": None}
        )
        for name, source in sources.items()
    }
    then_stack = stack.model_copy(update={"images": {**stack.images, **then}})
    found = release_images(then_stack, sorted(sources), {}, deliveries=deliveries, registries=registries)
    for name, image in found.items():
        if image.id != recorded[name]["id"]:
            raise ConfigError(
                f"image {name}: {sources[name]} is not what is recorded ({str(recorded[name]['id'])[:19]})",
                image.source,
                "ask who keeps that registry, and look at the hosts",
            )
    return found


def _from_here(stack: Stack, name: str, answer: Published | UnreachableError) -> ImageFact:
    """The published image as this machine's Docker has it: it will be pushed from here to some hosts at least."""
    reference = stack.images[name].reference
    try:
        local = local_images(stack, [name])[name]
    except ConfigError as error:
        if isinstance(answer, UnreachableError):
            error.what += f"; and {answer.where}: {answer.what}"
        error.hint = f"canary_delivery is push: docker pull {reference}"
        raise
    if isinstance(answer, UnreachableError):
        return local
    if local.id != answer.id:
        raise ConfigError(
            f"image '{name}': {reference} is {answer.id[:19]} at its registry, but {local.id[:19]} on this machine",
            shown(stack.file),
            f"canary_delivery is push, from this machine's Docker: docker pull {reference}",
        )
    return replace(local, source=answer.reference, platforms=answer.platforms)
