"""Declared mounts against what a host has mounted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from canaryctl.config.sizes import show_size
from canaryctl.config.stack import Mount
from canaryctl.errors import ApplyError
from canaryctl.facts.audit import MountFacts


@dataclass(frozen=True)
class MountFault:
    """Why a mount of the stack cannot be used on a host."""

    kind: Literal["absent", "fstype", "sentinel", "room"]
    path: str
    what: str
    hint: str


def mounts_of(mounts: Iterable[Mount], groups: Sequence[str]) -> tuple[Mount, ...]:
    """The mounts that a host of these groups must have: those without groups, and those of one of its own."""
    return tuple(mount for mount in mounts if not mount.groups or set(mount.groups) & set(groups))


def asked(mounts: Iterable[Mount]) -> list[dict[str, str]]:
    """What to ask of hosts about mounts."""
    return [{"path": mount.path, "sentinel": mount.sentinel or ""} for mount in mounts]


def mount_faults(mounts: Iterable[Mount], seen: Mapping[str, MountFacts]) -> list[MountFault]:
    """The first fault of each mount."""
    found = [_fault(mount, seen.get(mount.path)) for mount in mounts]
    return [fault for fault in found if fault is not None]


def mount_problems(host: str, mounts: Iterable[Mount], seen: Mapping[str, MountFacts]) -> list[ApplyError]:
    """Declared mounts that a host lacks: whatever ran there would use an empty directory of its own instead."""
    return [ApplyError(fault.what, hint=fault.hint, stage="migrate", host=host) for fault in mount_faults(mounts, seen)]


def _fault(mount: Mount, seen: MountFacts | None) -> MountFault | None:
    if seen is None or seen.error or seen.point in ("", "/"):
        why = f" ({seen.error})" if seen and seen.error and seen.point not in ("", "/") else ""
        what = f"{mount.path} does not answer{why}" if why else f"nothing is mounted at {mount.path}"
        return MountFault("absent", mount.path, what, f"mount it there: findmnt {mount.path}, /etc/fstab")
    if mount.fstype and not _same_type(mount.fstype, seen.fstype):
        what = f"{mount.path} is {seen.fstype}, the stack declares {mount.fstype}"
        return MountFault("fstype", mount.path, what, "mount the right file system, or correct the stack's mounts")
    if mount.sentinel and not seen.sentinel:
        what = f"{mount.path} has no {mount.sentinel}: it is not the file system it should be, or it is empty"
        return MountFault("sentinel", mount.path, what, "mount the right file system, or put the sentinel file into it")
    if mount.min_free and (seen.free or 0) < mount.min_free:
        what = f"{mount.path} has {show_size(seen.free or 0)} free, the stack needs {show_size(mount.min_free)}"
        return MountFault("room", mount.path, what, "free space there, or lower min_free in the stack file")
    return None


def _same_type(wanted: str, found: str) -> bool:
    """`nfs` stands for every version of it."""
    return wanted == found or (wanted == "nfs" and found.startswith("nfs"))
