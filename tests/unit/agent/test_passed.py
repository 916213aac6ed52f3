"""Which releases passed, by the lines of a history: a table."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.agent.read.passed import passed_ids, says_passed, speaks_against


def line(release: str, verdict: str | None, **more: Any) -> dict[str, Any]:
    return {"environment": "canary", "what": "verdict", "to": release, "verdict": verdict, **more}


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        ([], []),
        ([line("a", "passed"), line("b", "passed")], ["b", "a"]),
        ([line("a", "passed"), line("b", "passed"), line("a", "passed")], ["a", "b"]),
        ([line("a", "passed", what="rollback")], ["a"]),
        ([line("a", "passed", what="deploy"), line("b", "partial"), line("c", None)], []),
        ([line("a", "passed", role="baseline")], []),
        # its newest verdict counts, in the environment that it is of
        ([line("a", "passed"), line("a", "failed")], []),
        ([line("a", "passed"), line("a", "inconclusive"), line("a", "passed")], ["a"]),
        ([line("a", "passed"), line("a", "failed", environment="fleet")], ["a"]),
        ([line("a", "passed"), line("a", "failed", role="baseline")], ["a"]),
        ([line("a", "passed"), line("a", "partial")], ["a"]),
        ([{"who": "a line of a later version"}, line("", "passed")], []),
    ],
)
def test_what_passed_newest_first(lines: list[dict[str, Any]], passed: list[str]) -> None:
    assert passed_ids(lines) == passed


@pytest.mark.parametrize(
    ("verdict", "passed", "against"),
    [("passed", True, False), ("partial", False, False), ("failed", False, True), ("inconclusive", False, True)],
)
def test_a_verdict_speaks_for_a_release_or_against_it_or_neither(verdict: str, passed: bool, against: bool) -> None:
    assert (says_passed(line("a", verdict)), speaks_against(line("a", verdict))) == (passed, against)
