"""Write a release's files, and the stack's secrets, to a host. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from canaryctl.facts.host import HostFacts
from canaryctl.plan.operations.operation import Operation
from canaryctl.plan.release import SHORT
from canaryctl.plan.releasefiles import drifted_files
from canaryctl.plan.rotation import secrets_reason
from canaryctl.plan.target import Target

SHOWN = 5


@dataclass(frozen=True)
class Render(Operation):
    """Write a release (the name of its directory) for the services placed there; `healed` are files put back in it."""

    kind = "render"
    stage = "render"

    release: str
    services: tuple[str, ...]
    healed: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        return f"release {self.release[:SHORT]}" + ("" if self.healed else f" with {', '.join(self.services)}")


@dataclass(frozen=True)
class WriteSecrets(Operation):
    """Write the secrets file."""

    kind = "write-secrets"
    stage = "render"

    @property
    def what(self) -> str:
        return "secrets.env"


def to_render(host: str, target: Target, facts: HostFacts) -> list[Operation]:
    """The files and secrets that a host lacks, or has otherwise."""
    operations: list[Operation] = []
    state, release, services = facts.state, target.rendering.directory, target.rendering.services
    if release not in state.releases:
        reason = "not on the host" if state.current else "nothing is deployed here yet"
        operations.append(Render(host, reason, release, services))
    elif paths := drifted_files(facts, release, target.rendering.hashes):
        operations.append(Render(host, f"drift: {', '.join(paths[:SHOWN])} differ", release, services, tuple(paths)))
    if target.secrets is not None and state.secrets != target.secrets:
        reason = "not on the host" if state.secrets is None else secrets_reason(target, facts)
        operations.append(WriteSecrets(host, reason))
    return operations
