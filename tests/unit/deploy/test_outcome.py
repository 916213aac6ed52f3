"""What a command comes to, whatever way it ends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from canaryctl.deploy.outcome import Ended, Outcome, outcome
from canaryctl.errors import (
    EXIT_PRECEDENCE,
    ApplyError,
    ConfigError,
    ContractError,
    GateError,
    HostError,
    LockedError,
    UnjudgedError,
)

APPLY, HOST, GATE, CONFIG = ApplyError("x"), HostError("x"), GateError("x"), ConfigError("x")
CONTRACT, UNJUDGED, LOCKED, BUG = ContractError("x"), UnjudgedError("x"), LockedError("x"), OverflowError("x")
SERVES = {"changed": True, "touched": True}
ROLLED_BACK = {"remember": "failed", "policy": "rollback", "hook": True, "collect": True}
NOTHING_BUT_HOOK = {"collect": True, "hook": True}

# How it ended, and what becomes of it: verdict, exit code, and what is done besides.
TABLE: dict[str, tuple[dict[str, Any], str, int, dict[str, Any]]] = {
    # all steps were taken
    "passed": ({}, "passed", 0, {}),
    "passed, changed": (SERVES, "passed", 0, {}),
    "failed probes of what serves": ({"verdict": "failed"}, "failed", 1, {}),
    "failed": (SERVES | {"verdict": "failed"}, "failed", 1, {"policy": "rollback"}),
    "failed, nothing changed": ({"verdict": "failed"}, "failed", 1, {}),
    "inconclusive": (SERVES | {"verdict": "inconclusive"}, "inconclusive", 4, {}),
    "a host was lost while probing": (SERVES | {"lost": True}, "error", 3, {}),
    "some hosts were left behind": (SERVES | {"left_behind": True}, "failed", 6, {}),
    # several at once
    "failed, and a host was lost": (
        SERVES | {"verdict": "failed", "lost": True},
        "failed",
        3,
        {"policy": "rollback"},
    ),
    "inconclusive, and a host was lost": (SERVES | {"verdict": "inconclusive", "lost": True}, "inconclusive", 3, {}),
    "left behind and lost": (SERVES | {"left_behind": True, "lost": True}, "failed", 3, {}),
    "failed, and hosts were left behind": (
        SERVES | {"verdict": "failed", "left_behind": True},
        "failed",
        6,
        {"policy": "rollback"},
    ),
    "failed and lost, and hosts were left behind": (
        SERVES | {"verdict": "failed", "lost": True, "left_behind": True},
        "failed",
        3,
        {"policy": "rollback"},
    ),
    "inconclusive, and hosts were left behind": (
        SERVES | {"verdict": "inconclusive", "left_behind": True},
        "failed",
        6,
        {},
    ),
    "a host was lost before anything was changed": ({"lost": True}, "error", 3, {}),
    "an error after hosts were left behind": (SERVES | {"left_behind": True, "error": HOST}, "error", 3, ROLLED_BACK),
    "a gate after hosts were left behind": (SERVES | {"left_behind": True, "error": GATE}, "failed", 1, ROLLED_BACK),
    "configuration, found too late, and a host was lost": (
        SERVES | {"lost": True, "error": CONFIG},
        "error",
        3,
        ROLLED_BACK,
    ),
    "contract, and a host was lost": (
        SERVES | {"lost": True, "error": CONTRACT},
        "failed",
        3,
        {**NOTHING_BUT_HOOK, "remember": "failed"},
    ),
    "unjudged, and a host was lost": (
        SERVES | {"lost": True, "error": UNJUDGED},
        "inconclusive",
        3,
        {**NOTHING_BUT_HOOK, "remember": "failed"},
    ),
    "lock lost, and a host was lost": (SERVES | {"lost": True, "error": LOCKED}, "error", 5, NOTHING_BUT_HOOK),
    "interrupted, and a host was lost": (
        SERVES | {"lost": True, "error": KeyboardInterrupt()},
        "interrupted",
        130,
        {"remember": "interrupted"},
    ),
    "an error beside failed probes": (SERVES | {"verdict": "failed", "error": APPLY}, "failed", 6, ROLLED_BACK),
    "an error beside a lost host": (SERVES | {"lost": True, "error": APPLY}, "failed", 3, ROLLED_BACK),
    "a gate beside a lost host": (SERVES | {"lost": True, "error": GATE}, "failed", 3, ROLLED_BACK),
    "locked, and a host was lost": ({"lost": True, "error": LOCKED}, "error", 5, {}),
    "configuration, before, and a host was lost": ({"lost": True, "error": CONFIG}, "error", 2, {"collect": True}),
    "a fault of ours beside a lost host": (SERVES | {"lost": True, "error": BUG}, "error", 1, ROLLED_BACK),
    # every error, before and after a change
    "apply": (SERVES | {"error": APPLY}, "failed", 6, ROLLED_BACK),
    "apply, of images alone": ({"changed": True, "error": APPLY}, "failed", 6, ROLLED_BACK),
    "apply, before": ({"error": APPLY}, "failed", 6, {"collect": True}),
    "gate": (SERVES | {"error": GATE}, "failed", 1, ROLLED_BACK),
    "host": (SERVES | {"error": HOST}, "error", 3, ROLLED_BACK),
    "host, before": ({"error": HOST}, "error", 3, {"collect": True}),
    "configuration, found too late": (SERVES | {"error": CONFIG}, "error", 6, ROLLED_BACK),
    "configuration, after images alone": ({"changed": True, "error": CONFIG}, "error", 2, NOTHING_BUT_HOOK),
    "configuration, before": ({"error": CONFIG}, "error", 2, {"collect": True}),
    "contract": (SERVES | {"error": CONTRACT}, "failed", 1, {**NOTHING_BUT_HOOK, "remember": "failed"}),
    "contract, before": ({"error": CONTRACT}, "failed", 1, {}),
    "unjudged": (SERVES | {"error": UNJUDGED}, "inconclusive", 4, {**NOTHING_BUT_HOOK, "remember": "failed"}),
    "unjudged, before": ({"error": UNJUDGED}, "inconclusive", 4, {}),
    "lock lost": (SERVES | {"error": LOCKED}, "error", 5, NOTHING_BUT_HOOK),
    "locked": ({"error": LOCKED}, "error", 5, {}),
    "a fault of ours": (SERVES | {"error": BUG}, "error", 1, ROLLED_BACK),
    "a fault of ours, after images alone": (
        {"changed": True, "error": BUG},
        "error",
        1,
        {**NOTHING_BUT_HOOK, "remember": "failed"},
    ),
    "a fault of ours, before": ({"error": BUG}, "error", 1, {"collect": True}),
    "interrupted": (SERVES | {"error": KeyboardInterrupt()}, "interrupted", 130, {"remember": "interrupted"}),
    "interrupted, images alone": ({"changed": True, "error": KeyboardInterrupt()}, "interrupted", 130, {}),
    "interrupted, before": ({"error": KeyboardInterrupt()}, "interrupted", 130, {}),
    # after the verdict
    "pruning failed after a pass": (SERVES | {"judged": True, "error": APPLY}, "failed", 6, NOTHING_BUT_HOOK),
    "a fault of ours after a pass": (SERVES | {"judged": True, "error": BUG}, "error", 1, NOTHING_BUT_HOOK),
    "a fault of ours after a failure": (
        SERVES | {"judged": True, "verdict": "failed", "error": BUG},
        "error",
        1,
        ROLLED_BACK,
    ),
    # whose policy never acts
    "a rollback failed": (SERVES | {"follows_policy": False, "verdict": "failed"}, "failed", 1, {}),
    "a rollback could not be applied": (
        SERVES | {"follows_policy": False, "error": APPLY},
        "failed",
        6,
        {**NOTHING_BUT_HOOK, "remember": "failed"},
    ),
    "a fault of ours in a rollback": (
        SERVES | {"follows_policy": False, "error": BUG},
        "error",
        1,
        {**NOTHING_BUT_HOOK, "remember": "failed"},
    ),
    "stopping could not be applied": (
        SERVES | {"follows_policy": False, "error": APPLY},
        "failed",
        6,
        {**NOTHING_BUT_HOOK, "remember": "failed"},
    ),
    "a baseline failed": (SERVES | {"baseline": True, "verdict": "failed"}, "failed", 1, {}),
    "a baseline could not be applied": (
        SERVES | {"baseline": True, "error": APPLY},
        "failed",
        6,
        {"collect": True, "remember": "failed"},
    ),
    "a candidate failed": (
        SERVES | {"verdict": "failed"},
        "failed",
        1,
        {"policy": "rollback"},
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_how_it_ended_decides_what_becomes_of_it(case: str) -> None:
    given, verdict, code, done = TABLE[case]
    ended = Ended(**{"on_failure": "rollback", **given})
    assert outcome(ended) == Outcome(verdict, code, **done)


@pytest.mark.parametrize("policy", ["keep", "down", "rollback"])
@pytest.mark.parametrize("error", [None, APPLY, HOST, CONFIG, BUG, GATE], ids=lambda error: type(error).__name__)
def test_the_policy_is_the_environments(policy: str, error: BaseException | None) -> None:
    verdict = "passed" if error else "failed"
    assert outcome(Ended(error=error, verdict=verdict, on_failure=policy, **SERVES)).policy == policy


def test_every_exit_code_has_a_row() -> None:
    assert {code for _, _, code, _ in TABLE.values()} == set(EXIT_PRECEDENCE)


ERRORS = (None, APPLY, HOST, GATE, CONFIG, CONTRACT, UNJUDGED, LOCKED, BUG, KeyboardInterrupt())


def every_end() -> Iterator[Ended]:
    """Whatever can come together: what is touched has been changed."""
    flags = ("follows_policy", "baseline", "judged", "changed", "touched", "lost", "left_behind")
    for error, verdict, policy in product(ERRORS, ("passed", "failed", "inconclusive"), ("rollback", "keep", "down")):
        for values in product((False, True), repeat=len(flags)):
            ended = Ended(error=error, verdict=verdict, on_failure=policy, **dict(zip(flags, values, strict=True)))
            if ended.changed or not ended.touched:
                yield ended


def test_whatever_comes_together_has_an_exit_code_and_hosts_are_touched_only_where_they_may_be() -> None:
    for ended in every_end():
        found = outcome(ended)
        assert found.exit_code in EXIT_PRECEDENCE, ended
        assert (found.exit_code == 0) == (found.verdict == "passed"), ended
        if ended.error is not None:
            assert found.verdict != "passed", ended
        if found.policy:
            assert ended.changed and ended.follows_policy and not ended.baseline, ended
            assert not isinstance(ended.error, (LockedError, KeyboardInterrupt)), ended
            assert found.policy == ended.on_failure, ended
        if found.remember or found.hook:
            assert ended.changed, ended
        if ended.judged and ended.verdict == "passed" and not isinstance(ended.error, KeyboardInterrupt):
            assert (found.remember, found.policy) == (None, ""), ended  # what has passed stays
