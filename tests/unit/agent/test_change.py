"""What a host does about a change of what it serves: every phase, at every time, under every lock, and after a boot."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from canaryctl.agent.read.change import about_change, lock_state, next_step

BACK = {"release": "r1", "project": "shop-prod"}
LEFT, OVER = 20.0, -0.1
LOCKS = ("free", "expired", "own", "other")


def change(phase: str, **more: Any) -> dict[str, Any]:
    return {"phase": phase, "confirm": 30.0, "back": BACK, **more}


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("left", [LEFT, OVER])
@pytest.mark.parametrize("booting", [False, True])
@pytest.mark.parametrize("phase", ["confirmed", "returned", "stranded", "of a later version"])
def test_what_is_settled_stays(phase: str, booting: bool, left: float, lock: str) -> None:
    assert next_step(change(phase), left, lock, booting=booting) == "rest"


@pytest.mark.parametrize("left", [LEFT, OVER])
@pytest.mark.parametrize("lock", LOCKS)
def test_what_has_begun_is_carried_out_first(left: float, lock: str) -> None:
    """Where its keeper died, too; the one before it has been asked for the lock by the module."""
    assert next_step(change("begun"), left, lock, booting=False) == "replace"


@pytest.mark.parametrize(
    ("phase", "left", "lock", "booting", "step"),
    [
        # while its run lives, and has time
        ("started", LEFT, "own", False, "wait"),
        ("failed", LEFT, "own", False, "wait"),
        # the new release serves, and its run may only be slow: it has its time
        ("started", LEFT, "free", False, "wait"),
        ("started", LEFT, "expired", False, "wait"),
        # nothing serves, and nobody is there to put it right
        ("failed", LEFT, "free", False, "return"),
        ("failed", LEFT, "expired", False, "return"),
        # the time is over, whoever hangs in it
        ("started", OVER, "own", False, "return"),
        ("started", OVER, "free", False, "return"),
        ("started", OVER, "expired", False, "return"),
        ("failed", OVER, "own", False, "return"),
        # the power was lost: whatever stage it was in
        ("begun", LEFT, "own", True, "return"),
        ("begun", LEFT, "expired", True, "return"),
        ("started", LEFT, "own", True, "return"),
        ("failed", LEFT, "free", True, "return"),
        # what was begun is done to the end
        ("returning", LEFT, "own", False, "return"),
        ("returning", LEFT, "free", True, "return"),
        # somebody else is at work on the stack
        ("started", OVER, "other", False, "wait"),
        ("failed", LEFT, "other", False, "wait"),
        ("failed", OVER, "other", False, "wait"),
        ("begun", LEFT, "other", True, "wait"),
        ("started", LEFT, "other", True, "wait"),
        ("returning", OVER, "other", False, "wait"),
    ],
)
def test_an_open_change(phase: str, left: float, lock: str, booting: bool, step: str) -> None:
    assert next_step(change(phase), left, lock, booting=booting) == step


@pytest.mark.parametrize(
    ("phase", "left", "booting", "step"),
    [
        ("started", LEFT, False, "wait"),
        ("started", OVER, False, "strand"),
        ("failed", OVER, False, "strand"),
        ("started", LEFT, True, "strand"),
        ("begun", LEFT, True, "replace"),  # rather what was begun than nothing
    ],
)
def test_a_host_with_nothing_to_go_back_to(phase: str, left: float, booting: bool, step: str) -> None:
    assert next_step(change(phase, back=None), left, "expired", booting=booting) == step


@pytest.mark.parametrize(
    ("phase", "lock", "back", "step"),
    [
        ("begun", "own", BACK, "return"),
        ("started", "own", BACK, "return"),
        ("failed", "free", BACK, "return"),
        ("begun", "own", None, "strand"),
        ("started", "free", None, "strand"),
        ("started", "other", BACK, "wait"),
        ("confirmed", "free", BACK, "rest"),
    ],
)
def test_what_its_operator_interrupted_is_taken_back_at_once(phase: str, lock: str, back: Any, step: str) -> None:
    assert next_step(change(phase, unwanted=True, back=back), LEFT, lock, booting=False) == step


@pytest.mark.parametrize("booting", [False, True])
@pytest.mark.parametrize("phase", ["begun", "started", "failed", "returning"])
def test_what_nobody_is_to_confirm_is_only_carried_out(phase: str, booting: bool) -> None:
    """As a plain ansible-playbook makes it."""
    found = next_step(change(phase, confirm=None), 0.0, "free", booting=booting)
    assert found == ("replace" if phase == "begun" else "rest")


def test_whose_the_lock_is() -> None:
    now, mine = time.time(), hashlib.sha256(b"token").hexdigest()
    live = {"owner": mine, "renewed": now, "ttl": 60}
    assert lock_state(None, [mine]) == "free"
    assert lock_state({**live, "renewed": now - 61}, [mine]) == "expired"
    assert lock_state(live, ["x", mine]) == "own"
    assert lock_state(live, []) == "other"
    assert lock_state({"token": "token", "renewed": now, "ttl": 60}, [mine]) == "own"  # of an older version


def test_what_only_the_host_has_to_know_is_not_told() -> None:
    assert about_change({"id": "r", "job": {"locks": [], "env": {}}}) == {"id": "r"}
