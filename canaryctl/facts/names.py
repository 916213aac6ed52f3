"""Names that a host tells of: whether they can be any. Pure.

They become directories, options, patterns, and arguments of commands.
"""

from __future__ import annotations

import re
from typing import Any

_DIRECTORY = re.compile(r"[0-9a-f]{64}-[0-9a-f]{8}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,254}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_CONTAINER = re.compile(r"[0-9a-f]{12,64}")
_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@\[\]-]{0,511}")


def project_name(value: Any) -> bool:
    """Whether compose could have given a project this name."""
    return isinstance(value, str) and bool(_PROJECT.fullmatch(value))


def plain_name(value: Any) -> bool:
    """Whether it can name a service, a container, a volume or a file: no folder, no option, no pattern."""
    return isinstance(value, str) and bool(_NAME.fullmatch(value))


def container_id(value: Any) -> bool:
    """Whether it is a container's identity, or the beginning that Docker shows of it."""
    return isinstance(value, str) and bool(_CONTAINER.fullmatch(value))


def image_id(value: Any) -> bool:
    """Whether it is an image's identity."""
    return isinstance(value, str) and bool(_IMAGE.fullmatch(value))


def reference_name(value: Any) -> bool:
    """Whether it can name an image: by a tag, by a digest, or by its identity."""
    return isinstance(value, str) and bool(_REFERENCE.fullmatch(value))


def release_directory(value: Any) -> bool:
    """Whether a release's directory can have this name."""
    return isinstance(value, str) and bool(_DIRECTORY.fullmatch(value))
