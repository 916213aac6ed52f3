"""What compose last brought up on a host, as roles/stack_release/module_utils/started.py noted it. Pure.

The file is the host's own: what is not as it should be in it counts as not written, and the release is brought up anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from canaryctl.facts.typed import longest

PATH = 8192  # characters; Linux has 4096 bytes for one
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class MountedFacts:
    """A container's mount: `source` is a path, or a volume's name."""

    type: str = ""
    source: str = field(default="", metadata=longest(PATH))
    destination: str = field(default="", metadata=longest(PATH))
    rw: bool = True

    @property
    def anonymous(self) -> bool:
        """Whether it is a volume that nobody named: its name is another one in each container."""
        return self.type == "volume" and _ANONYMOUS.fullmatch(self.source) is not None


@dataclass(frozen=True)
class StartedContainer:
    """A container as compose left it. A container's definition never changes: its id stands for all of it."""

    service: str
    config_hash: str
    mounts: tuple[MountedFacts, ...] = ()


@dataclass(frozen=True)
class StartedFacts:
    """`release` is the directory's name, `containers` are by id.

    `healed` are paths in it that were put back since: what mounts them may still see what they replaced.
    """

    release: str = ""
    project: str = ""
    containers: Mapping[str, StartedContainer] = field(default_factory=dict)
    healed: tuple[str, ...] = ()


def parse_mounted(entries: Any) -> tuple[MountedFacts, ...]:
    """Mounts as the agent gives them; entries that are none are left out."""
    found = []
    for entry in entries if isinstance(entries, (list, tuple)) else ():
        if isinstance(entry, Mapping):
            kind, source, destination = (_text(entry.get(key)) for key in ("type", "source", "destination"))
            found.append(MountedFacts(kind, source, destination, entry.get("rw") is not False))
    return tuple(found)


def parse_started(document: Any) -> StartedFacts | None:
    """What started.json says; None where it says nothing that can be believed."""
    if not isinstance(document, Mapping):
        return None
    containers = document.get("containers")
    healed = document.get("healed")
    return StartedFacts(
        _text(document.get("release")),
        _text(document.get("project")),
        {
            str(key): StartedContainer(
                _text(entry.get("service")), _text(entry.get("hash")), parse_mounted(entry.get("mounts"))
            )
            for key, entry in (containers.items() if isinstance(containers, Mapping) else ())
            if isinstance(entry, Mapping)
        },
        tuple(path for path in healed if isinstance(path, str)) if isinstance(healed, list) else (),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
