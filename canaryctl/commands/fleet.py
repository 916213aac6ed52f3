"""The hosts of one command that leaves no run, and how they are asked: all at once, each over one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from canaryctl.config.environment import Host
from canaryctl.errors import HostError
from canaryctl.hosts import Connection, Connections, Observation, observe
from canaryctl.plan.deployment import Deployment

T = TypeVar("T")


@dataclass(frozen=True)
class Fleet:
    """Hosts of a deployment, with their connections. `connected` makes it and closes them."""

    deployment: Deployment
    hosts: Sequence[Host]
    connections: Connections

    @property
    def environment(self) -> str:
        """Its name."""
        return self.deployment.environment.name

    @property
    def stack(self) -> str:
        """Its name."""
        return self.deployment.stack.stack

    def each(self, do: Callable[[Connection], T]) -> tuple[dict[str, T], list[HostError]]:
        """What comes of it on each host, and the hosts that were lost."""
        found, lost = self.connections.each(self.hosts, do)
        return found, list(lost.values())

    def all(self, do: Callable[[Connection], T]) -> dict[str, T]:
        """The same where every host counts. Raises HostError for the first that was lost."""
        found, lost = self.each(do)
        if lost:
            raise lost[0]
        return found

    def observe(self) -> Observation:
        """What the hosts serve, without what a plan needs beside."""
        return observe(self.connections, self.hosts, stack=self.stack)


@contextmanager
def connected(deployment: Deployment, hosts: Sequence[Host] | None = None) -> Iterator[Fleet]:
    """The hosts that --limit leaves, or some of them."""
    chosen = deployment.hosts if hosts is None else hosts
    with Connections(chosen, deployment.request.become_password) as connections:
        yield Fleet(deployment, chosen, connections)
