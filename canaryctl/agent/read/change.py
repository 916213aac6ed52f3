"""A change of what a host serves, as its own `change.json` has it, and what is due where nobody confirms it. Pure.

A change is one transaction: it begins, is started or has failed, and is confirmed by its operator, or else the host
goes back by itself to the release that last passed there. What does so on the host is roles/stack_release's keeper.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from .held import has_expired, owner_of

CHANGE_FILE = "change.json"
BEGUN, STARTED, FAILED = "begun", "started", "failed"
CONFIRMED, RETURNING, RETURNED, STRANDED = "confirmed", "returning", "returned", "stranded"
OPEN = (BEGUN, STARTED, FAILED)  # nobody has confirmed it, and nothing has been taken back
GOING_BACK = (RETURNING, RETURNED, STRANDED)
PRIVATE = ("job",)  # what only the host itself has to know


def about_change(change: Mapping[str, Any]) -> dict[str, Any]:
    """What others may know of a change."""
    return {key: value for key, value in change.items() if key not in PRIVATE}


def away_words(away: Mapping[str, float | None]) -> str:
    """How long services were away while a host changed what it serves; '' where none was."""
    times = ("has not come back" if seconds is None else f"{seconds:.1f} s" for seconds in away.values())
    return ", ".join(sorted(f"{service} {time}" for service, time in zip(away, times)))


def lock_state(holder: Mapping[str, Any] | None, owners: Sequence[str]) -> str:
    """Of the lock on the stack: `free`, `expired`, `own` where who began the change holds it, or `other`."""
    if holder is None:
        return "free"
    if has_expired(dict(holder)):
        return "expired"
    return "own" if owner_of(dict(holder)) in owners else "other"


def next_step(change: Mapping[str, Any], left: float, lock: str, *, booting: bool) -> str:
    """What the keeper does next: replace, return, strand, wait, or rest for good.

    A change that nobody is to confirm (`confirm` null) is only carried out. One that failed while nobody holds the lock
    any more has nobody who would put it right, and what its operator has interrupted is not wanted. While another run
    works on the stack, nothing is done under its hands.

    Args:
        left: seconds until it must have been confirmed.
        lock: see `lock_state`.
        booting: whether the host has come up anew since the change began.
    """
    phase, switched, unwanted = change["phase"], change["confirm"] is not None, bool(change.get("unwanted"))
    if phase == BEGUN and not (switched and (booting or unwanted)):
        return "replace"
    if not switched or phase not in (*OPEN, RETURNING):
        return "rest"
    orphaned = phase == FAILED and lock in ("free", "expired")
    if not (booting or unwanted or orphaned or phase == RETURNING or left <= 0):
        return "wait"
    if lock == "other":
        return "wait"
    if change["back"]:
        return "return"
    return "replace" if phase == BEGUN and not unwanted else "strand"
