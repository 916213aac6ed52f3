"""Look at locks, and hold or release them by hand. Leaves no run; a run's own lock is deploy/locking.py's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from canaryctl.config.environment import Host
from canaryctl.deploy.locking import locked
from canaryctl.errors import ConfigError, HostError, LockedError
from canaryctl.evidence.document import operator_name
from canaryctl.facts import LockFacts
from canaryctl.hosts import Connection, Connections
from canaryctl.hosts import lock as remote
from canaryctl.plan.deployment import Deployment, Request, load_deployment

T = TypeVar("T")

__all__ = ["Acquired", "LockFacts", "Locks", "Released", "acquire", "release", "status"]


@dataclass(frozen=True)
class Locks:
    """Who holds the lock of the stack and of the whole host, by host; None where nobody does."""

    environment: str
    stack: str
    locks: dict[str, dict[Literal["stack", "host"], LockFacts | None]]


@dataclass(frozen=True)
class Acquired:
    """Hosts that are locked now, and the locks that had to make way."""

    environment: str
    stack: str
    locked: list[str]
    displaced: list[LockFacts]


@dataclass(frozen=True)
class Released:
    """The locks that were given up, by host."""

    environment: str
    stack: str
    released: dict[str, tuple[LockFacts, ...]]


class _Fleet:
    """The environment's hosts, and what is done on all of them at once."""

    def __init__(self, deployment: Deployment, connections: Connections) -> None:
        self.deployment, self.connections = deployment, connections
        self.become: dict[str, Any] = {"become_password": deployment.request.become_password}

    def each(self, do: Callable[[Connection, Host], T]) -> tuple[dict[str, T], dict[str, HostError]]:
        hosts = self.deployment.environment.hosts
        return self.connections.each(self.deployment.hosts, lambda connection: do(connection, hosts[connection.host]))

    def all(self, do: Callable[[Connection, Host], T]) -> dict[str, T]:
        """The same where every host counts. Raises HostError for the first that was lost."""
        found, lost = self.each(do)
        for failure in lost.values():
            raise failure
        return found

    def stack_lock(self, host: Host) -> str:
        return remote.stack_lock(host, self.deployment.stack.stack)

    def names(self) -> tuple[str, str]:
        return self.deployment.environment.name, self.deployment.stack.stack

    def locks(self, host: Host) -> dict[Literal["stack", "host"], str]:
        return {"stack": self.stack_lock(host), "host": remote.host_lock(host)}


@contextmanager
def _fleet(request: Request) -> Iterator[_Fleet]:
    deployment = load_deployment(request)
    with Connections(deployment.hosts) as connections:
        yield _Fleet(deployment, connections)


def status(request: Request) -> tuple[Locks, list[HostError]]:
    """Who holds the environment's locks, and the hosts that cannot be asked."""
    with _fleet(request) as fleet:

        def look(connection: Connection, host: Host) -> dict[Literal["stack", "host"], LockFacts | None]:
            paths = fleet.locks(host)
            found = remote.show(connection, host, list(paths.values()), **fleet.become)
            return {of: found.get(path) for of, path in paths.items()}

        seen, lost = fleet.each(look)
        return Locks(*fleet.names(), seen), list(lost.values())


def acquire(request: Request, message: str, ttl: float) -> Acquired:
    """Hold the stack's lock on every host for `ttl` seconds, tied to no process, until it is released.

    Raises:
        ConfigError: an empty message.
        LockedError: somebody holds it, and `request.break_lock` is not set. Nothing is locked then.
        HostError, ApplyError: a host was lost, or cannot keep a lock. Nothing is locked then.
    """
    if not message.strip():
        raise ConfigError("the message is empty", "--message", "say why, for those whom the lock will stop")
    with _fleet(request) as fleet:
        claim = remote.Claim(
            token=secrets.token_hex(16),
            holder=operator_name(),
            environment=fleet.deployment.environment.name,
            command="lock acquire",
            message=message.strip(),
            run="",
            directory="",
            ttl=ttl,
            held=True,
        )
        try:
            return _claim(fleet, claim, break_lock=request.break_lock)
        except BaseException:
            fleet.each(lambda c, host: remote.release(c, host, [fleet.stack_lock(host)], claim.token, **fleet.become))
            raise


def _claim(fleet: _Fleet, claim: remote.Claim, *, break_lock: bool) -> Acquired:
    displace: set[str] = set()
    displaced: dict[str, LockFacts] = {}

    def take(connection: Connection, host: Host) -> remote.Attempt:
        return remote.acquire(connection, host, [fleet.stack_lock(host)], claim, displace, **fleet.become)

    while True:
        found = fleet.all(take)
        displaced |= {lock.mark: lock for attempt in found.values() for lock in attempt.displaced}
        refused = {host: attempt.refused for host, attempt in found.items() if attempt.refused}
        if not refused:
            return Acquired(*fleet.names(), sorted(found), list(displaced.values()))
        if not (break_lock and {lock.mark for lock in refused.values()} - displace):
            raise locked(claim.environment, ", ".join(refused), next(iter(refused.values())))
        displace.update(lock.mark for lock in refused.values())


def release(request: Request) -> Released:
    """Release the held lock of this operator; with `request.break_lock` whosever lock it is, a run's too.

    Raises:
        LockedError: it is somebody else's, or a run's. Nothing is released then.
        HostError, ApplyError: a host cannot be asked.
    """
    with _fleet(request) as fleet:

        def paths(host: Host) -> list[str]:
            return list(fleet.locks(host).values()) if request.break_lock else [fleet.stack_lock(host)]

        seen = fleet.all(lambda c, host: remote.show(c, host, paths(host), **fleet.become))
        for host, locks in seen.items():
            for lock in locks.values():
                if not (request.break_lock or lock.expired or (lock.held and lock.holder == operator_name())):
                    raise _not_yours(fleet.deployment.environment.name, host, lock)
        marks = {lock.mark for locks in seen.values() for lock in locks.values()}
        gone = fleet.all(lambda c, host: remote.release(c, host, paths(host), marks=marks, **fleet.become))
        return Released(*fleet.names(), {host: locks for host, locks in gone.items() if locks})


def _not_yours(environment: str, host: str, lock: LockFacts) -> LockedError:
    what = "somebody else's" if lock.held else "a run's"
    return LockedError(
        f"the lock is {what}: locked by {lock.words()}",
        host,
        f"ask them; to take it from them all the same: canaryctl lock release {environment} --break-lock",
    )
