"""Room for what a release writes to a host beside its images. Pure."""

from __future__ import annotations

from canaryctl.errors import ApplyError
from canaryctl.facts.host import HostFacts
from canaryctl.plan.target import Target

_SPARE = 2 << 20  # bytes for state, history, what is written beside a file before it takes its place
_INODES = 100


def room_problems(host: str, target: Target, facts: HostFacts) -> list[ApplyError]:
    """Why a host's disk does not take the release, with what is free where; to be asked before anything is changed."""
    disk = facts.disks.get(target.root)
    if disk is None:
        return []
    needed = _SPARE + 2 * sum(len(content) for content in target.rendering.files.values())
    if disk.read_only:
        what, hint = (
            "is on a file system that is mounted read-only",
            "mount it writable; the kernel's log says why it is not",
        )
    elif disk.free < needed:
        what, hint = f"has {disk.free:,} bytes free, the release needs {needed:,}", "free space there"
    elif disk.inodes and disk.inodes_free < _INODES:
        what, hint = f"has {disk.inodes_free} inodes free, the release needs {_INODES}", "remove files there"
    else:
        return []
    told = f"the release cannot be rendered there: {target.root} {what}"
    return [ApplyError(told, hint=f"{hint}, then run this again", stage="render", host=host)]
