"""What an audit sees of a host beyond the facts, and its declared mounts, typed. Tolerant of missing keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
class AuditFacts:
    """`sshd` has the lower-case options in effect. `reboot` is None where none is pending, else packages' names.

    `compose` is the text of the current release's compose file.
    """

    sshd: dict[str, str] = field(default_factory=dict)
    daemon: DaemonFacts = field(default_factory=DaemonFacts)
    reboot: tuple[str, ...] | None = None
    compose: str = ""


def parse_mounts(entries: Iterable[Mapping[str, Any]] | None) -> dict[str, MountFacts]:
    """The agent's `mounts`, by path."""
    known = ("path", "point", "fstype", "free", "sentinel", "error")
    made = (MountFacts(**{key: entry[key] for key in known if entry.get(key) is not None}) for entry in entries or ())
    return {mount.path: mount for mount in made}


def parse_audit(document: Mapping[str, Any] | None) -> AuditFacts:
    """The agent's `audit`; empty where it was not asked for."""
    found = document or {}
    daemon, reboot = found.get("daemon") or {}, found.get("reboot")
    return AuditFacts(
        sshd=dict(found.get("sshd") or {}),
        daemon=DaemonFacts(
            path=str(daemon.get("path") or ""),
            keys=tuple(daemon.get("keys") or ()),
            flags=tuple(daemon.get("flags") or ()),
            error=str(daemon.get("error") or ""),
        ),
        reboot=None if reboot is None else tuple(reboot.get("packages") or ()),
        compose=str(found.get("compose") or ""),
    )
