"""Which releases passed, by the lines of a history. Pure; whether a line is to be believed, `plan.verdicts` weighs."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

PROVING = ("verdict", "rollback")  # what a line must be about to prove anything
BAD = ("failed", "inconclusive")


def says_passed(line: Mapping[str, Any]) -> bool:
    """Whether a line says that a release passed with all of its probes; what passed as a baseline proves nothing."""
    return line.get("verdict") == "passed" and line.get("what") in PROVING and line.get("role") != "baseline"


def speaks_against(line: Mapping[str, Any]) -> bool:
    """Whether a line has a verdict for which its release is neither promoted nor gone back to."""
    return line.get("verdict") in BAD


def passed_ids(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of the releases that passed in some environment with no worse verdict there since, newest first.

    Args:
        lines: oldest first.
    """
    found: dict[str, None] = {}
    worse = set()
    for line in reversed(lines):
        judged = (line.get("environment"), line.get("to"))
        if says_passed(line) and line.get("to") and judged not in worse:
            found[line["to"]] = None
        elif speaks_against(line) and line.get("role") != "baseline":
            worse.add(judged)
    return list(found)
