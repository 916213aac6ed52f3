"""Make room on hosts after a release has passed. What may go is decided by agent/write/prune.py, on the host."""

from __future__ import annotations

from dataclasses import dataclass, field

from canaryctl.facts import lock_lost
from canaryctl.facts.programs import PruneAnswer, believed
from canaryctl.hosts.ask import ask
from canaryctl.images.destination import Destination


@dataclass(frozen=True)
class Pruned:
    """What one host got rid of, and why something stayed that should have gone.

    `kept` are release directories in which somebody has written, with some of the paths.
    """

    images: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)


def prune(destination: Destination) -> Pruned:
    """Remove a stack's images and release directories that no release worth keeping needs, only ever by our own tags.

    Raises:
        HostError: the host is lost.
        LockedError: a lock is lost.
    """
    host = destination.connection.host
    order = {"stack": destination.stack, "locks": list(destination.locks)}
    answer = ask(destination.connection, "prune", order, timeout=120)
    found = believed(host, PruneAnswer, answer)
    if found.lost is not None:
        raise lock_lost(host, next(iter(found.lost), None))
    return Pruned(found.images, found.releases, found.faults, found.kept)
