"""The lock that operators share, on one host. agent/write/lock.py is the half that runs there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from canaryctl.config.environment import Host
from canaryctl.errors import ApplyError
from canaryctl.facts.lock import LockFacts
from canaryctl.facts.programs import LockAnswer, believed
from canaryctl.hosts.ask import ask
from canaryctl.hosts.connection import Connection


@dataclass(frozen=True)
class Claim:
    """Who wants a lock and what for; the fields are those of LockFacts. `ttl` is in seconds."""

    token: str = field(repr=False)
    holder: str
    environment: str
    command: str
    message: str
    run: str
    directory: str
    ttl: float
    held: bool


@dataclass(frozen=True)
class Attempt:
    """What came of a claim. `refused` is who holds `path`, None where everything was taken.

    `displaced` had to make way. `touched` is when somebody changed something beside the lock before (epoch, host's
    clock), 0 where nobody did.
    """

    refused: LockFacts | None
    path: str
    displaced: tuple[LockFacts, ...]
    touched: float


def stack_lock(host: Host, stack: str) -> str:
    """Path of the lock of a stack on a host."""
    return f"{host.root}/{stack}/lock"


def host_lock(host: Host) -> str:
    """Path of the lock of a whole host."""
    return f"{host.root}/.lock"


def acquire(connection: Connection, paths: Sequence[str], claim: Claim, displace: Collection[str] = ()) -> Attempt:
    """Take all of `paths` or none. Expired locks make way, and those whose mark is in `displace`.

    Raises:
        ApplyError: the host cannot keep a lock: no room, or no permission.
        HostError: the host is lost.
    """
    order = {"paths": list(paths), "holder": asdict(claim), "displace": list(displace)}
    found = _ask(connection, "acquire", order)
    return Attempt(found.holder, found.path, found.displaced, found.touched)


def renew(connection: Connection, paths: Sequence[str], token: str) -> dict[str, dict[str, Any] | None]:
    """Let locks live on. Returns those of `paths` that are not held with `token` any more, with who holds them now.

    Raises:
        ApplyError, HostError: as `acquire`.
    """
    order = {"paths": list(paths), "token": token}
    return _ask(connection, "renew", order).lost


def release(
    connection: Connection, paths: Sequence[str], token: str = "", marks: Collection[str] = ()
) -> tuple[LockFacts, ...]:
    """Give up those of `paths` that are held with `token`, or whose mark is in `marks`. Returns what was given up.

    Raises:
        ApplyError, HostError: as `acquire`.
    """
    order = {"paths": list(paths), "token": token, "marks": list(marks)}
    return _ask(connection, "release", order).released


def show(connection: Connection, paths: Sequence[str]) -> dict[str, LockFacts]:
    """Who holds locks, by path; those that nobody holds are left out. Raises as `acquire`."""
    found = _ask(connection, "show", {"paths": list(paths)}).locks
    return {path: lock for path, lock in found.items() if lock and path in paths}


def _ask(connection: Connection, action: str, order: dict[str, Any]) -> LockAnswer:
    answer = believed(connection.host, LockAnswer, ask(connection, "lock", {"action": action, **order}, timeout=30))
    if answer.error:
        raise ApplyError(
            f"the lock cannot be kept there: {answer.error}",
            hint=f"see that {connection.inventory.root} has room there, and who may write it",
            stage="lock",
            host=connection.host,
        )
    return answer
