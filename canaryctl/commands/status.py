"""What an environment serves, at a glance: one environment or all. Nothing is changed and no run is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from canaryctl.commands.history import made_current
from canaryctl.errors import CanaryError, HostError
from canaryctl.evidence.signatures import standing
from canaryctl.facts import HostFacts, LockFacts
from canaryctl.hosts import Fleet, at_once, observe
from canaryctl.plan.deployment import Deployment, Request, load_deployment
from canaryctl.plan.drift import drift
from canaryctl.plan.operations.provision import readiness


@dataclass(frozen=True)
class ServiceStatus:
    """A service's container; `project` is its compose project."""

    state: str
    health: str
    image: str
    project: str
    restarts: int


@dataclass(frozen=True)
class HostStatus:
    """What a host serves (`release`, of `environment`), `since` when and `by` whom, and how its services are.

    `missing` are services placed there that have no container, `lacks` what stops a deploy, `last` the newest line of
    its history and how that stands, `change` what is to be said of its last change where nobody confirmed that.
    """

    reachable: Literal[True] = field(default=True, init=False)
    release: str | None = None
    environment: str | None = None
    variant: str | None = None
    since: str | None = None
    by: str | None = None
    drift: list[str] = field(default_factory=list)
    services: dict[str, ServiceStatus] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    simulated: bool = False
    lock: LockFacts | None = None
    last: Mapping[str, Any] | None = None
    change: str = ""


@dataclass(frozen=True)
class LostHost:
    """A host that could not be asked, and the services placed there."""

    reachable: Literal[False] = field(default=False, init=False)
    why: str
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class EnvironmentStatus:
    """What an environment's hosts are, each and together.

    `release` is None where hosts differ or serve nothing, `drift` where a host that could tell is not reachable and
    none of the others drifted. `replaced_by` are other environments that its hosts serve.
    """

    environment: str
    stack: str
    release: str | None
    variant: str | None
    replaced_by: list[str]
    since: str | None
    by: str | None
    healthy: int
    services: int
    drift: bool | None
    lock: LockFacts | None
    hosts: dict[str, HostStatus | LostHost]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**vars(self), "release": {"id": self.release}}


def status(request: Request) -> tuple[EnvironmentStatus, list[HostError]]:
    """How every host of an environment is, and the hosts that could not be asked."""
    return _status(load_deployment(request))


def status_of_all(request: Request) -> tuple[dict[str, EnvironmentStatus | CanaryError], list[CanaryError]]:
    """The status of every environment of the project, all asked at once, and what went wrong.

    Of an environment whose files are faulty it is the error. A password that was asked for is of one environment, and
    nobody said which: where there are several, each has only what its inventory gives.
    """
    if len(request.project.environments()) > 1:
        request = replace(request, become_password=None)
    deployments: dict[str, Deployment] = {}
    faulty: dict[str, CanaryError] = {}
    for name in request.project.environments():
        try:
            deployments[name] = load_deployment(replace(request, environment=name))
        except CanaryError as error:
            faulty[name] = error
    asked, failed = at_once(list(deployments), lambda name: _status(deployments[name]))
    for failure in failed.values():
        raise failure
    found = {name: faulty.get(name) or asked[name][0] for name in request.project.environments()}
    return found, [*faulty.values(), *(failure for _, failures in asked.values() for failure in failures)]


def _status(deployment: Deployment) -> tuple[EnvironmentStatus, list[HostError]]:
    with Fleet(deployment.hosts, deployment.request.become_password) as fleet:
        seen = observe(fleet, fleet.hosts, stack=deployment.stack.stack)
    hosts: dict[str, HostStatus | LostHost] = {}
    for host in deployment.hosts:
        lost = seen.failures.get(host.name)
        hosts[host.name] = (
            LostHost(lost.what, list(deployment.placed.get(host.name, ())))
            if lost
            else _host(deployment, seen.facts[host.name])
        )
    return _together(hosts, deployment), list(seen.failures.values())


def _host(deployment: Deployment, facts: HostFacts) -> HostStatus:
    current = facts.state.current_release or {}
    last = facts.state.history[-1] if facts.state.history else None
    brought = made_current(current.get("id"), facts.state.history) or {}
    services = {
        container.service: ServiceStatus(
            container.state, container.health, container.image, container.project, container.restarts
        )
        for container in facts.containers
        if container.project.startswith(f"{deployment.stack.stack}-")
    }
    return HostStatus(
        release=current.get("id"),
        environment=current.get("environment"),
        variant=current.get("variant"),
        since=brought.get("time"),
        by=brought.get("who"),
        drift=drift(facts, deployment.compose_project)
        if current.get("environment") == deployment.environment.name
        else [],
        services=services,
        missing=[name for name in deployment.placed.get(facts.host, ()) if name not in services],
        lacks=readiness(facts),
        simulated=facts.gpu_simulated,
        lock=facts.state.lock,
        change=facts.state.change.words(facts.time) if facts.state.change else "",
        last=last and {**last, **standing(last, deployment.environment, deployment.stack.stack)},
    )


def _together(hosts: dict[str, HostStatus | LostHost], deployment: Deployment) -> EnvironmentStatus:
    placed = [hosts[name] for name in deployment.placed if name in hosts]
    seen = [host for host in placed if isinstance(host, HostStatus)]
    lost = len(placed) - len(seen)
    ids = {host.release for host in seen}
    first = min((host for host in seen if host.since), key=lambda host: str(host.since), default=None)
    if len(ids) != 1:
        first = None
    drifted = any(host.drift for host in seen)
    services = [one for host in seen for one in host.services.values() if one.project == deployment.compose_project]
    wanted = sum(len(deployment.placed.get(name, ())) for name in hosts)
    return EnvironmentStatus(
        environment=deployment.environment.name,
        stack=deployment.stack.stack,
        release=next(iter(ids)) if len(ids) == 1 and not lost else None,
        variant=seen[0].variant if len(ids) == 1 else None,
        replaced_by=sorted({str(host.environment) for host in seen} - {deployment.environment.name, "None"}),
        since=first.since if first else None,
        by=first.by if first else None,
        healthy=sum(one.state == "running" and one.health in ("", "healthy") for one in services),
        services=max(len(services), wanted),
        drift=None if lost and not drifted else drifted,
        lock=next((host.lock for host in seen if host.lock), None),
        hosts=hosts,
    )
