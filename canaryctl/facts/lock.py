"""A lock on a host as everybody may know it: who holds it, since when, and for what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from canaryctl.errors import LockedError
from canaryctl.facts.typed import LATEST, Unbelievable, one


@dataclass(frozen=True)
class LockFacts:
    """A lock, without its token.

    Attributes:
        holder: user@machine.
        command: what it was taken for: a command of canaryctl.
        run: id of the run that holds it; empty for a held lock.
        directory: where that run's record is on its machine.
        since: RFC 3339, by the host's clock, as is `renewed` (epoch).
        ttl: seconds after `renewed` that it lives.
        held: tied to no process: made by `canaryctl lock acquire`.
        mark: names this very lock.
        expired: whether it had outlived its time when it was read.
    """

    holder: str = ""
    environment: str = ""
    command: str = ""
    message: str = ""
    run: str = ""
    directory: str = ""
    since: str = ""
    renewed: float = 0
    ttl: float = 0
    held: bool = False
    mark: str = ""
    expired: bool = False

    @property
    def expires(self) -> str:
        """When it expires unless it is renewed, RFC 3339."""
        return datetime.fromtimestamp(int(min(self.renewed + self.ttl, LATEST)), UTC).isoformat().replace("+00:00", "Z")

    def words(self) -> str:
        """In a sentence, after `locked by`."""
        text = self.holder or "somebody unknown"
        text += f" for environment {self.environment}" if self.environment else ""
        text += f" since {self.since}" if self.since else ""
        text += f" ({self.command}{', run ' + self.run if self.run else ''})" if self.command else ""
        text += f": {self.message}" if self.message else ""
        return text

    def as_dict(self) -> dict[str, Any]:
        """For JSON documents."""
        return {**asdict(self), "expires": self.expires}


def parse_lock(entry: Any) -> LockFacts | None:
    """A lock as the agent tells it. Raises Unbelievable."""
    return None if entry is None else one(LockFacts, entry, "lock")


def lock_lost(host: str, found: Any) -> LockedError:
    """The error of a run that does not hold its lock any more; `found` is who holds it now, as the agent tells."""
    try:
        lock = parse_lock(found)
    except Unbelievable:
        lock = LockFacts()
    now = f"it is held by {lock.words()}" if lock else "nobody holds it now"
    return LockedError(
        f"this run has lost its lock, and changes nothing more: {now}",
        host,
        "it was broken, or expired while this machine slept; look with canaryctl status ENV, then run this again",
    )
