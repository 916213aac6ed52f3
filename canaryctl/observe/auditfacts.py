"""What an audit sees of a host beyond the facts, and its declared mounts, typed. Tolerant of missing keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


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
class LockFacts:
    """A deployment's lock: who holds it, since when (epoch) and for how long (seconds) at most."""

    who: str = ""
    environment: str = ""
    since: float = 0
    ttl: float = 0


@dataclass(frozen=True)
class AuditFacts:
    """`sshd` has the lower-case options in effect. `reboot` is None where none is pending, else packages' names.

    `compose` is the text of the current release's compose file.
    """

    sshd: dict[str, str] = field(default_factory=dict)
    daemon: DaemonFacts = field(default_factory=DaemonFacts)
    reboot: tuple[str, ...] | None = None
    lock: LockFacts | None = None
    compose: str = ""


def parse_mounts(entries: Iterable[Mapping[str, Any]] | None) -> dict[str, MountFacts]:
    """The agent's `mounts`, by path."""
    known = ("path", "point", "fstype", "free", "sentinel", "error")
    made = (MountFacts(**{key: entry[key] for key in known if entry.get(key) is not None}) for entry in entries or ())
    return {mount.path: mount for mount in made}


def parse_audit(document: Mapping[str, Any] | None) -> AuditFacts:
    """The agent's `audit`; empty where it was not asked for."""
    found = document or {}
    daemon, reboot, lock = found.get("daemon") or {}, found.get("reboot"), found.get("lock")
    return AuditFacts(
        sshd=dict(found.get("sshd") or {}),
        daemon=DaemonFacts(
            path=str(daemon.get("path") or ""),
            keys=tuple(daemon.get("keys") or ()),
            flags=tuple(daemon.get("flags") or ()),
            error=str(daemon.get("error") or ""),
        ),
        reboot=None if reboot is None else tuple(reboot.get("packages") or ()),
        lock=None if lock is None else _lock(lock),
        compose=str(found.get("compose") or ""),
    )


def _lock(entry: Mapping[str, Any]) -> LockFacts:
    ttl = entry.get("ttl")
    return LockFacts(
        who=str(entry.get("who") or entry.get("holder") or ""),
        environment=str(entry.get("environment") or ""),
        since=_epoch(entry.get("since")) or _epoch(entry.get("time")) or 0,
        ttl=float(ttl) if isinstance(ttl, (int, float)) else 0,
    )


def _epoch(value: Any) -> float | None:
    """Seconds since 1970 of a number or an RFC 3339 text."""
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None
