"""The command contract: images on this machine, checked by running them. No host is asked, and no run is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from canaryctl.config.project import load_project
from canaryctl.config.sizes import show_size
from canaryctl.config.stack import load_stack
from canaryctl.config.yamlfile import shown
from canaryctl.contract import Cache, Job, Row, Subject, biggest, check_all, here, read_layers
from canaryctl.errors import ConfigError
from canaryctl.images.docker import local_images
from canaryctl.plan.release import ImageFact

__all__ = ["CheckedImage", "Row", "biggest", "check_images", "show_size"]


@dataclass(frozen=True)
class CheckedImage:
    """An image, the rows of its contract, and its layers as `read_layers` gives them."""

    image: ImageFact
    rows: list[Row]
    layers: list[dict[str, Any]]


def check_images(
    stack_file: str | None,
    names: Sequence[str],
    variant: str | None,
    overrides: Mapping[str, str],
    *,
    remembered: bool = True,
) -> list[CheckedImage]:
    """Check images of a stack.

    Args:
        stack_file: as --stack gives it.
        names: in the stack file; empty for all, or all of the variant where one is given.
        overrides: image name to another local reference that stands in for it.
        remembered: whether what was checked before counts.

    Raises:
        ConfigError: no project, or an image is unknown, or not on this machine.
    """
    stack = load_stack(load_project(stack=stack_file).stack)
    for name in names:
        if name not in stack.images:
            raise ConfigError(f"no image '{name}'", shown(stack.file), f"there are: {', '.join(stack.images)}")
    served = set(stack.variants[stack.choose_variant(variant)].values()) if variant else set(stack.images)
    images = local_images(stack, names or [name for name in stack.images if name in served], overrides)
    place = here()
    jobs = [
        Job(place, Subject(name, i.id, i.layers, i.reference, stack.images[name].contract, stack.secrets))
        for name, i in images.items()
    ]
    rows = check_all(jobs, Cache(read=remembered))
    return [
        CheckedImage(
            images[name],
            [row for row in rows if row.image == name]
            + [
                Row(name, check, "skipped", reason="it needs a GPU host: a deploy checks it there", where="nowhere")
                for check in stack.images[name].contract.gpu_checks
            ],
            read_layers(place, images[name].reference, stack.secrets),
        )
        for name in images
    ]
