"""How long what runs on a host may take to stop."""

from __future__ import annotations

import pytest

from canaryctl.facts.host import parse
from canaryctl.plan.drains import drain_of, drain_to_come, drain_words


@pytest.mark.parametrize(
    ("container", "seconds", "words"),
    [
        ({"stop_timeout": None}, 0, ""),
        ({}, 0, ""),  # an agent of an older version says nothing of it
        ({"stop_timeout": 10}, 0, ""),
        ({"stop_timeout": 25}, 15, ""),
        ({"stop_timeout": 600}, 590, "worker 10 m"),
        ({"stop_timeout": -1}, 86400, "worker for ever"),
        ({"stop_timeout": 600, "state": "exited"}, 0, ""),
        ({"stop_timeout": 600, "project": "other-prod"}, 0, ""),
        ({"stop_timeout": 600, "project": "shop-old"}, 590, "worker 10 m"),  # what it replaces is stopped as well
    ],
)
def test_what_runs_of_the_stack_has_its_time_to_stop(container: dict[str, object], seconds: float, words: str) -> None:
    known = {"project": "shop-prod", "service": "worker", "state": "running", **container}
    facts = parse("one", {"containers": [known]})
    assert drain_of(facts, "shop") == seconds
    assert drain_words(facts, "shop").rpartition(": ")[2] == words


def test_what_is_to_come_may_be_stopped_again() -> None:
    assert drain_to_come({"web": 1.0, "worker": 600.0}) == 590.0
