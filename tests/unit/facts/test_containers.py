"""Containers in a line each: when they became healthy is said only where Docker still knows it."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.facts.containers import describe

STARTED = "2026-11-24T09:30:40.5Z"
STARTED_EPOCH = 1795512640.5


def inspected(*checks: tuple[int, str], status: str = "healthy", **state: Any) -> dict[str, Any]:
    health = {"Status": status, "Log": [{"ExitCode": code, "End": f"2026-11-24T09:30:{end}Z"} for code, end in checks]}
    return {
        "Id": "c1",
        "Name": "/shop-canary-web-1",
        "Image": "sha256:aa",
        "RestartCount": 2,
        "State": {"Status": "running", "StartedAt": STARTED, "OOMKilled": False, "Health": health, **state},
        "Config": {"Image": "canaryctl/shop/web:aa", "Labels": {"com.docker.compose.service": "web"}},
    }


def test_a_row_says_what_an_operator_asks() -> None:
    (row,) = describe("h1", [inspected((0, "42.75"))], {"c1": 5_000_000}, {})
    assert row == {
        "host": "h1",
        "service": "web",
        "name": "shop-canary-web-1",
        "image": "canaryctl/shop/web:aa",
        "image_id": "sha256:aa",
        "state": "running",
        "health": "healthy",
        "started": STARTED,
        "healthy_seconds": 2.25,
        "restarts": 2,
        "memory_bytes": 5_000_000,
        "oom_killed": False,
    }


@pytest.mark.parametrize(
    ("checks", "events", "seconds"),
    [
        ([(1, "41"), (1, "41.5"), (0, "42"), (0, "47"), (0, "52")], [], 1.5),
        ([(0, "42"), (0, "47"), (0, "52"), (0, "57"), (0, "58")], [], None),
        ([(0, "42"), (0, "47"), (0, "52"), (0, "57"), (0, "58")], [STARTED_EPOCH + 1.25], 1.25),
        ([(0, "42")], [STARTED_EPOCH - 300, STARTED_EPOCH + 3], 3.0),
        ([(1, "41"), (1, "42")], [], None),
        ([(0, "12")], [], None),
        ([], [], None),
    ],
    ids=[
        "a failed check precedes it",
        "five healthy ones: the first may be gone",
        "the event is remembered",
        "events of an earlier start do not count",
        "never",
        "a check of an earlier start",
        "no check yet",
    ],
)
def test_when_it_became_healthy(checks: list[tuple[int, str]], events: list[float], seconds: float | None) -> None:
    (row,) = describe("h1", [inspected(*checks)], {}, {"c1": events})
    assert row["healthy_seconds"] == seconds and row["memory_bytes"] is None


def test_a_container_that_never_started_has_no_times() -> None:
    bare = {"Id": "c2", "Name": "/x", "State": {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}, "Config": {}}
    (row,) = describe("h1", [bare], {}, {})
    assert (row["service"], row["started"], row["healthy_seconds"], row["health"]) == ("x", None, None, None)
