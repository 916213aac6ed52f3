"""Build a stack's images on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from canaryctl.config.project import load_project
from canaryctl.config.stack import load_stack
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError
from canaryctl.images.docker import build_images
from canaryctl.plan.release import ImageFact


def build(
    stack_file: str | None, names: Sequence[str], arguments: Sequence[str], say: Callable[[str], None]
) -> dict[str, ImageFact]:
    """Build images, and give them by name.

    Args:
        names: in the stack file; empty for all that can be built.
        arguments: `NAME=VALUE`, or `NAME` for what the environment variable of that name holds.
        say: takes the builder's lines.

    Raises:
        ConfigError: an image or a variable does not exist, or the build fails.
    """
    project = load_project(stack=stack_file)
    stack = load_stack(project.stack)
    granted = {name: value if equals else None for name, equals, value in (a.partition("=") for a in arguments)}
    for name in (name for name, value in granted.items() if value is None and name not in os.environ):
        raise ConfigError(
            f"--build-arg {name}: your environment has no {name}", "--build-arg", f"set it, or {name}=VALUE"
        )
    for name in names:
        if name not in stack.images:
            raise ConfigError(f"no image '{name}'", shown(stack.file), f"there are: {', '.join(stack.images)}")
    wanted = names or [name for name, image in stack.images.items() if image.build]
    return build_images(stack, wanted, say, project=project.root, granted=granted)
