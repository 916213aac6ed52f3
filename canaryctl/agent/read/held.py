"""Who holds a lock, and whether a run still holds its own: read before each change on a host.

A lock is a directory with one file, holder.json. Who made it has its token, and nobody else is told: the file, which
everybody may read, has the token's digest (`owner`). One that an older version wrote has the token itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any

HOLDER_FILE = "holder.json"
BOOT_ID = "/proc/sys/kernel/random/boot_id"  # another one each time that the kernel starts
# What a lock lives, in seconds, whose holder cannot be read: a crash in the middle of a write leaves one.
UNREADABLE_TTL = 60


class LockLost(Exception):  # noqa: N818  not a fault of this program
    """A lock is not held (any more) by who would change the host; `holder` is who holds it now, if anybody."""

    def __init__(self, path: str) -> None:
        super().__init__("the lock " + path + " is no longer held by this run")
        self.holder = about_lock(path)


def read_holder(path: str) -> dict[str, Any] | None:
    """holder.json of the lock directory `path`; None where there is no lock."""
    file = os.path.join(path, HOLDER_FILE)
    try:
        with open(file, encoding="utf-8") as stream:
            holder = json.load(stream)
        if isinstance(holder, dict) and isinstance(holder.get("renewed"), (int, float)):
            return holder
    except FileNotFoundError:
        return None
    except ValueError:
        pass
    return {"holder": "somebody unknown", "ttl": UNREADABLE_TTL, "renewed": os.stat(file).st_mtime}


def stamped(holder: dict[str, Any]) -> dict[str, Any]:
    """A holder as of now, by this host's clock, and by the one that nobody sets: seconds `up` since `boot`."""
    return dict(holder, renewed=time.time(), boot=boot_id(), up=time.clock_gettime(time.CLOCK_BOOTTIME))


def has_expired(holder: dict[str, Any]) -> bool:
    """Whether a lock has not been renewed for as long as it lives."""
    return seconds_since(holder) > float(holder.get("ttl") or 0)


def seconds_since(holder: dict[str, Any]) -> float:
    """Since a lock was renewed, whatever this host's clock has been set to meanwhile.

    That one counts where the host has come up anew since, or an older version wrote the lock.
    """
    up = holder.get("up")
    if isinstance(up, (int, float)) and holder.get("boot") and holder["boot"] == boot_id():
        since = time.clock_gettime(time.CLOCK_BOOTTIME) - up
        if since >= 0:
            return since
    return time.time() - float(holder["renewed"])


def boot_id() -> str:
    """Names this start of the host's kernel; '' where it does not tell."""
    try:
        with open(BOOT_ID, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def digest_of(token: str) -> str:
    """What a lock keeps of its holder's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def owner_of(holder: dict[str, Any]) -> str:
    """The digest of its holder's token."""
    return str(holder["owner"]) if "owner" in holder else digest_of(str(holder.get("token", "")))


def mark_of(holder: dict[str, Any]) -> str:
    """Names a lock for those who are not its holder."""
    return owner_of(holder)[:16]


def public(holder: dict[str, Any]) -> dict[str, Any]:
    """What others may know of a lock."""
    known = {key: value for key, value in holder.items() if key not in ("token", "owner", "boot", "up")}
    renewed = time.time() - seconds_since(holder)
    if abs(renewed - float(holder["renewed"])) > 1:  # the clock was set: as it would stand there by what it is now
        known["renewed"] = renewed
    return dict(known, mark=mark_of(holder), expired=has_expired(holder))


def about_lock(path: str) -> dict[str, Any] | None:
    """What others may know of the lock at `path`; None where there is none."""
    holder = read_holder(path)
    return None if holder is None else public(holder)


def require_locks(locks: list[dict[str, str]]) -> None:
    """Each of `locks` ({path, owner}) must be held by that owner. Raises LockLost."""
    for lock in locks:
        holder = read_holder(lock["path"])
        if holder is None or owner_of(holder) != lock["owner"]:
            raise LockLost(lock["path"])
