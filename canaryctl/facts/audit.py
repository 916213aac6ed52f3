"""What an audit sees of a host beyond the facts, and its declared mounts, typed. Tolerant of missing keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from canaryctl.facts.typed import longest, many, one, section


@dataclass(frozen=True)
class MountFacts:
    """A declared mount: the mount point that holds its path (`/` where none does), and bytes free there.

    `sentinel` is None where none was asked for; `error` says why the file system did not answer.
    """

    path: str = ""
    point: str = ""
    fstype: str = ""
    free: int | None = None
    sentinel: bool | None = None
    error: str = ""


@dataclass(frozen=True)
class DaemonFacts:
    """Names of dockerd's options: `keys` of daemon.json, `flags` of its command line; `error` of the file."""

    path: str = ""
    keys: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class LeftFacts:
    """A file or folder that a killed program of ours left, and how many seconds ago it was touched."""

    path: str = ""
    age: float = 0.0


@dataclass(frozen=True)
class AuditFacts:
    """`sshd` has the lower-case options in effect. `reboot` is None where none is pending, else packages' names.

    `compose` is the text of the current release's compose file.
    """

    sshd: dict[str, str] = field(default_factory=dict)
    daemon: DaemonFacts = field(default_factory=DaemonFacts)
    reboot: tuple[str, ...] | None = None
    leftovers: tuple[LeftFacts, ...] = ()
    compose: str = field(default="", metadata=longest(1 << 18))


def parse_mounts(entries: Any) -> dict[str, MountFacts]:
    """The agent's `mounts`, by path. Raises Unbelievable."""
    return {mount.path: mount for mount in many(MountFacts, entries, "mounts")}


def parse_audit(document: Any) -> AuditFacts:
    """The agent's `audit`; empty where it was not asked for. Raises Unbelievable."""
    found = dict(section(document, "audit"))
    if found.get("reboot") is not None:
        found["reboot"] = section(found["reboot"], "audit.reboot").get("packages") or []
    return one(AuditFacts, found, "audit")
