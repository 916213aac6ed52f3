"""Look at locks, and hold or release them by hand. Leaves no run; a run's own lock is deploy/locking.py's."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from canaryctl.deploy.locking import locked
from canaryctl.errors import ConfigError, HostError, LockedError
from canaryctl.evidence.document import operator_name
from canaryctl.facts import LockFacts
from canaryctl.hosts import Connection, Fleet
from canaryctl.hosts import lock as remote
from canaryctl.plan.deployment import Deployment, Request, load_deployment

__all__ = ["Acquired", "LockFacts", "Locks", "Released", "acquire", "release", "status"]

HostLocks = dict[Literal["stack", "host"], LockFacts | None]


@dataclass(frozen=True)
class Locks:
    """Who holds the lock of the stack and of the whole host, by host; None where nobody does."""

    environment: str
    stack: str
    locks: dict[str, HostLocks]


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


def status(request: Request) -> tuple[Locks, list[HostError]]:
    """Who holds the environment's locks, and the hosts that cannot be asked."""
    deployment = load_deployment(request)
    with Fleet(deployment.hosts, request.become_password) as fleet:

        def look(connection: Connection) -> HostLocks:
            paths = _paths(deployment, connection)
            found = remote.show(connection, list(paths.values()))
            return {of: found.get(path) for of, path in paths.items()}

        seen, lost = fleet.each(fleet.hosts, look)
        return Locks(deployment.environment.name, deployment.stack.stack, seen), list(lost.values())


def acquire(request: Request, message: str, ttl: float) -> Acquired:
    """Hold the stack's lock on every host for `ttl` seconds, tied to no process, until it is released.

    Raises:
        ConfigError: an empty message.
        LockedError: somebody holds it, and `request.break_lock` is not set. Nothing is locked then.
        HostError, ApplyError: a host was lost, or cannot keep a lock. Nothing is locked then.
    """
    if not message.strip():
        raise ConfigError("the message is empty", "--message", "say why, for those whom the lock will stop")
    deployment = load_deployment(request)
    with Fleet(deployment.hosts, request.become_password) as fleet:
        claim = remote.Claim(
            token=secrets.token_hex(16),
            holder=operator_name(),
            environment=deployment.environment.name,
            command="lock acquire",
            message=message.strip(),
            run="",
            directory="",
            ttl=ttl,
            held=True,
        )
        try:
            return _claim(deployment, fleet, claim, break_lock=request.break_lock)
        except BaseException:

            def give_up(connection: Connection) -> None:
                remote.release(connection, [_stack_lock(deployment, connection)], claim.token)

            fleet.each(fleet.hosts, give_up)
            raise


def _claim(deployment: Deployment, fleet: Fleet, claim: remote.Claim, *, break_lock: bool) -> Acquired:
    displace: set[str] = set()
    displaced: dict[str, LockFacts] = {}

    def take(connection: Connection) -> remote.Attempt:
        return remote.acquire(connection, [_stack_lock(deployment, connection)], claim, displace)

    while True:
        found = fleet.all(fleet.hosts, take)
        displaced |= {lock.mark: lock for attempt in found.values() for lock in attempt.displaced}
        refused = {host: attempt.refused for host, attempt in found.items() if attempt.refused}
        if not refused:
            return Acquired(claim.environment, deployment.stack.stack, sorted(found), list(displaced.values()))
        if not (break_lock and {lock.mark for lock in refused.values()} - displace):
            raise locked(claim.environment, ", ".join(refused), next(iter(refused.values())))
        displace.update(lock.mark for lock in refused.values())


def release(request: Request) -> Released:
    """Release the held lock of this operator; with `request.break_lock` whosever lock it is, a run's too.

    Raises:
        LockedError: it is somebody else's, or a run's. Nothing is released then.
        HostError, ApplyError: a host cannot be asked.
    """
    deployment = load_deployment(request)
    with Fleet(deployment.hosts, request.become_password) as fleet:

        def paths(connection: Connection) -> list[str]:
            of_both = _paths(deployment, connection)
            return list(of_both.values()) if request.break_lock else [of_both["stack"]]

        seen = fleet.all(fleet.hosts, lambda connection: remote.show(connection, paths(connection)))
        for host, locks in seen.items():
            for lock in locks.values():
                if not (request.break_lock or lock.expired or (lock.held and lock.holder == operator_name())):
                    raise _not_yours(deployment.environment.name, host, lock)
        marks = {lock.mark for locks in seen.values() for lock in locks.values()}
        given_up = fleet.all(fleet.hosts, lambda connection: remote.release(connection, paths(connection), marks=marks))
    released = {host: locks for host, locks in given_up.items() if locks}
    return Released(deployment.environment.name, deployment.stack.stack, released)


def _stack_lock(deployment: Deployment, connection: Connection) -> str:
    return remote.stack_lock(connection.inventory, deployment.stack.stack)


def _paths(deployment: Deployment, connection: Connection) -> dict[Literal["stack", "host"], str]:
    return {"stack": _stack_lock(deployment, connection), "host": remote.host_lock(connection.inventory)}


def _not_yours(environment: str, host: str, lock: LockFacts) -> LockedError:
    what = "somebody else's" if lock.held else "a run's"
    return LockedError(
        f"the lock is {what}: locked by {lock.words()}",
        host,
        f"ask them; to take it from them all the same: canaryctl lock release {environment} --break-lock",
    )
