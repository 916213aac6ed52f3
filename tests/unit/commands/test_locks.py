"""What an operator reads about locks."""

from __future__ import annotations

from dataclasses import replace

from canaryctl.cli.lock import lock_lines
from canaryctl.cli.progress import describe
from canaryctl.deploy.locking import locked
from canaryctl.facts import LockFacts

RUN = LockFacts("dev@box", "canary", "deploy", run="r-1", since="2026-11-24T08:00:00Z", renewed=1795507200, ttl=60)
HELD = LockFacts("dev@box", "canary", "lock acquire", "swap", renewed=1795507200, ttl=3600, held=True)


def test_who_finds_a_runs_lock_is_told_to_wait() -> None:
    error = locked("staging", "h1", RUN)
    assert (error.exit_code, error.where) == (5, "h1")
    assert "dev@box" in error.what and "canary" in error.what and "r-1" in error.what and "08:00:00" in error.what
    assert all(way in error.hint for way in ("--wait", "canaryctl lock status staging", "--break-lock"))


def test_a_held_lock_is_released_and_says_when_it_ends_by_itself() -> None:
    error = locked("canary", "h1", HELD)
    assert "swap" in error.what and "2026-11-24T09:00:00Z" in error.what
    assert "canaryctl lock release canary" in error.hint and "--wait" not in error.hint


def test_status_tells_of_a_lock_and_whether_it_counts() -> None:
    assert lock_lines(None) == []
    assert "until 2026-11-24T09:00:00Z" in lock_lines(HELD)[0]
    assert "expired at" in lock_lines(replace(RUN, expired=True))[0]


def test_waiting_says_for_whom() -> None:
    event = {"type": "lock.waiting", "host": "h1", "text": RUN.words()}
    assert describe(event).startswith("waiting for the lock of h1, held by dev@box for environment canary")
