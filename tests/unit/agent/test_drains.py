"""How long containers may take to stop, beyond ordinary ones."""

from __future__ import annotations

import pytest

from canaryctl.agent.read.drains import drain_beyond


@pytest.mark.parametrize(
    ("graces", "beyond"),
    [
        ([], 0),
        ([("web", 10), ("db", 1)], 0),
        ([("worker", 600), ("web", 10)], 590),
        ([("worker", 600), ("worker", 300)], 590),  # replicas stop together
        ([("worker", 600), ("queue", 40)], 620),
        ([("worker", -1)], 86400),
        ([("worker", 1e12)], 86400),
    ],
)
def test_what_stopping_may_take(graces: list[tuple[str, float]], beyond: float) -> None:
    assert drain_beyond(graces) == beyond
