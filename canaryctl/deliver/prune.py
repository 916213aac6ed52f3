"""Make room on hosts after a release has passed. What may go is decided by observe/agent/prune.py, on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from canaryctl.config.environment import Host
from canaryctl.observe import Connection, lock_lost
from canaryctl.observe.ask import ask


@dataclass(frozen=True)
class Pruned:
    """What one host got rid of, and why something stayed that should have gone."""

    images: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)


def prune(
    connection: Connection,
    host: Host,
    stack: str,
    *,
    become_password: str | None = None,
    locks: Sequence[Mapping[str, str]] = (),
) -> Pruned:
    """Remove a stack's images and release directories that no release worth keeping needs, only ever by our own tags.

    Args:
        locks: `path` and `token` of the locks that must still be there.

    Raises:
        HostError: the host is lost.
        LockedError: a lock is lost.
    """
    config = {"root": host.root, "stack": stack, "locks": list(locks)}
    found = ask(connection, host, "prune", config, become_password=become_password, timeout=120)
    if "lost" in found:
        raise lock_lost(host.name, found["lost"][0])
    return Pruned(tuple(found["images"]), tuple(found["releases"]), dict(found["faults"]))
