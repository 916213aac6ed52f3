"""Bring an earlier release back on a host, or remove what a first one made there. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from canaryctl.plan.operations.operation import Operation
from canaryctl.plan.release import SHORT


@dataclass(frozen=True)
class Created:
    """What a run made on a host that served nothing before: container ids, volume names, files below the stack's."""

    containers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class BringBack(Operation):
    """Make a release (the name of its directory) serve again as `project`, for which the others stop."""

    kind = "bring-back"
    stage = "rollback"

    release: str
    project: str
    replaces: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        return f"make {self.release[:SHORT]} current"


@dataclass(frozen=True)
class RemoveCreated(Operation):
    """Remove what a run made for `project`."""

    kind = "remove-created"
    stage = "rollback"

    project: str
    created: Created

    @property
    def what(self) -> str:
        made = self.created
        return f"remove {len(made.containers)} containers, {len(made.volumes)} volumes, {len(made.files)} files"
