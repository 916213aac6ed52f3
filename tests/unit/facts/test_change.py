"""A host's last change, as it tells of it: what is believed, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.facts.change import parse_change
from canaryctl.facts.host import parse

DOCUMENT: dict[str, Any] = {
    "id": "run-1",
    "run": "run-1",
    "who": "ann@desk",
    "to": {"release": "1" * 64 + "-aaaaaaaa", "project": "shop-prod"},
    "back": {"release": "0" * 64 + "-bbbbbbbb", "project": "shop-prod"},
    "confirm": 90.0,
    "phase": "started",
    "begun": 1_700_000_000.0,
}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "run-1 is not confirmed; unless it is, the host goes back to 000000000000 at 2023-11-14T22:14:50Z"),
        ({"back": None}, "goes back to nothing at"),
        ({"phase": "returning"}, "was not confirmed; the host is going back to 000000000000 now"),
        (
            {"phase": "returned", "result": "killed"},
            "was not confirmed; the host went back to 000000000000 by itself: killed",
        ),
        (
            {"phase": "returned", "result": "killed", "away": {"web": 12.34, "st\nore": 4}},
            "killed; out of service meanwhile: st?ore 4.0 s, web 12.3 s",
        ),
        (
            {"phase": "stranded", "result": "no", "away": {"web": None}},
            "no; out of service meanwhile: web has not come back",
        ),
        ({"phase": "stranded", "result": "no\nimage"}, "could not go back: no?image"),
        ({"phase": "confirmed"}, ""),
        ({"confirm": None}, ""),
    ],
)
def test_what_is_said_of_it(more: dict[str, Any], words: str) -> None:
    change = parse_change({**DOCUMENT, **more})
    assert change is not None
    said = change.words(change.begun + 91)
    assert words in said and (bool(words) or not said)


def test_of_one_that_is_long_due_nobody_is_told_that_the_host_will_go_back() -> None:
    """Where the keeper ended with its session, or with a host that has no unit for it at boot."""
    change = parse_change(DOCUMENT)
    assert change is not None
    due = change.begun + (change.confirm or 0)
    assert "unless it is" in change.words(due + 59)
    assert "has not gone back to 000000000000 at 2023-11-14T22:14:50Z" in change.words(due + 61)


@pytest.mark.parametrize(
    "odd",
    [
        {"to": {"release": "../../etc"}},
        {"back": {"release": "/"}},
        {"confirm": "soon"},
        {"begun": 1e300},
        {"to": 1},
        {"away": {"web": "long"}},
    ],
)
def test_one_that_cannot_be_right_counts_for_nothing_and_is_said(odd: dict[str, Any]) -> None:
    facts = parse("a", {"state": {"change": {**DOCUMENT, **odd}}})
    assert facts.state.change is None and any("change.json" in sentence for sentence in facts.odd)


def test_a_host_without_one_has_none() -> None:
    facts = parse("a", {"state": {"change": None}})
    assert facts.state.change is None and facts.odd == ()
