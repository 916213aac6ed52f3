"""Make a release serve on a host: what it replaces stops, its services run, what is not placed there goes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from canaryctl.config.stack import Stack
from canaryctl.errors import ApplyError
from canaryctl.facts.host import ContainerFacts, HostFacts
from canaryctl.plan.definitions import mounts_of_healed, other_definitions, why_stopped
from canaryctl.plan.operations.operation import Operation
from canaryctl.plan.ports import taken_ports, way_out
from canaryctl.plan.release import SHORT, ImageFact, Release
from canaryctl.plan.releasefiles import drifted_files
from canaryctl.plan.rotation import rotation_reason
from canaryctl.plan.target import Target


@dataclass(frozen=True)
class StopProject(Operation):
    """Stop another environment of the stack, whose place the release takes."""

    kind = "stop-project"
    stage = "start"

    project: str

    @property
    def what(self) -> str:
        return f"stop {self.project}"


@dataclass(frozen=True)
class MakeCurrent(Operation):
    """Make a release (the name of its directory) the one that compose brings up."""

    kind = "make-current"
    stage = "start"

    release: str

    @property
    def what(self) -> str:
        return f"make {self.release[:SHORT]} current"


@dataclass(frozen=True)
class StartService(Operation):
    """Start a service, anew where it runs; `renewed`: with another image."""

    kind = "start-service"
    stage = "start"

    service: str
    renewed: bool = False

    @property
    def what(self) -> str:
        return self.service


@dataclass(frozen=True)
class RemoveService(Operation):
    """Remove the containers of a service that is not placed there."""

    kind = "remove-service"
    stage = "start"

    service: str

    @property
    def what(self) -> str:
        return f"remove {self.service}"


@dataclass(frozen=True)
class StartVariant(Operation):
    """Start a candidate, told before its baseline is there: which of its services that takes is planned then."""

    kind = "start-variant"
    stage = "start"

    variant: str

    @property
    def what(self) -> str:
        return f"the services of {self.variant}"


def to_start(host: str, release: Release, target: Target, facts: HostFacts, others: Sequence[str]) -> list[Operation]:
    """What is to start, stop and go.

    Args:
        others: compose projects whose place the release takes, see `other_projects`.
    """
    operations: list[Operation] = [StopProject(host, f"replaces {other}", other) for other in others]
    directory, current = target.rendering.directory, facts.state.current
    if current != directory:
        reason = f"{current[:SHORT]} is current" if current else "nothing is current"
        operations.append(MakeCurrent(host, reason, directory))
    older, healed = _not_as_released(target, facts)
    for service in target.rendering.services:
        container, image = facts.container(service, target.project), release.services[service]
        renewed = container is not None and not _runs(container, image, release.tag(service), facts)
        reason = "runs another image" if renewed else _why_unfit(container)
        reason = reason or rotation_reason(service, target, facts) or older.get(service, "")
        if not reason and service in healed:
            reason = f"mounts {healed[service]}, which is put back"
        if reason:
            operations.append(StartService(host, reason, service, renewed))
    present = {c.service for c in facts.containers if c.project == target.project and not c.oneoff}
    strays = sorted(present - set(target.rendering.services) - {""})
    return operations + [RemoveService(host, "not placed here", service) for service in strays]


def other_projects(stack: Stack, target: Target, facts: HostFacts) -> tuple[str, ...]:
    """Compose projects of this stack's other environments that live on a host."""
    served = facts.state.current_release.get("environment") if facts.state.current_release else None
    candidates = {f"{stack.stack}-{served}"} if served else set()
    candidates |= {
        container.project for container in facts.containers if f"/{stack.stack}/releases/" in container.config_files
    }
    present = {container.project for container in facts.containers}
    return tuple(sorted(name for name in candidates if name and name != target.project and name in present))


def _runs(container: ContainerFacts, image: ImageFact, tag: str, facts: HostFacts) -> bool:
    """Whether a container runs an image, whose identity may be another one on the host under the same layers."""
    return container.image_id == image.id or (container.image == tag and facts.has_tagged(image.id, tag, image.layers))


def _why_unfit(container: ContainerFacts | None) -> str:
    if container is None or container.state != "running":
        return why_stopped(container)
    return "" if container.health in ("", "healthy") else f"is {container.health}"


def _not_as_released(target: Target, facts: HostFacts) -> tuple[dict[str, str], dict[str, str]]:
    """What runs another definition than the current release's, and what mounts files that are or were put back.

    Where another release is current, that one changes the hosts anyway, and compose sees what of it is new.
    """
    directory = target.rendering.directory
    if facts.state.current != directory:
        return {}, {}
    drifted = drifted_files(facts, directory, target.rendering.hashes)
    paths = {*drifted, *(facts.state.started.healed if facts.state.started else ())}
    return (
        other_definitions(facts, target.project, directory, target.rendering.services),
        mounts_of_healed(facts, target.project, directory, sorted(paths)),
    )


def port_problems(host: str, target: Target, facts: HostFacts, others: Sequence[str]) -> list[ApplyError]:
    """Ports the release publishes that something else holds. Ours, and those of a project it replaces, do not count."""
    return [
        ApplyError(
            f"port {port} of service {service} is already taken on the host by {holder}",
            hint=way_out(holder),
            stage="start",
            host=host,
        )
        for port, service, holder in taken_ports(target.rendering.ports, facts, {target.project, *others})
    ]
