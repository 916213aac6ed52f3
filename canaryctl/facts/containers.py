"""A project's containers in a line each, from what Docker says of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from canaryctl.facts.programs import Config, Health, Inspected, State
from canaryctl.facts.typed import one

_NEVER = "0001-"


def describe(
    host: str,
    inspected: Iterable[Mapping[str, Any]],
    memory: Mapping[str, int],
    became_healthy: Mapping[str, Sequence[float]],
) -> list[dict[str, Any]]:
    """Rows of run.json's `containers`, one a container.

    Args:
        inspected: `docker inspect` documents, as `collect` has checked them.
        memory: bytes by container id.
        became_healthy: by container id, epochs of Docker's own "healthy" events, where it remembers them.
    """
    rows = []
    for found in inspected:
        known = one(Inspected, found)
        state, config = known.State or State(), known.Config or Config()
        health = state.Health or Health()
        started = _epoch(state.StartedAt)
        rows.append(
            {
                "host": host,
                "service": config.Labels.get("com.docker.compose.service") or name_of(found),
                "name": name_of(found),
                "image": config.Image,
                "image_id": known.Image,
                "state": state.Status,
                "health": health.Status.replace("none", "") or None,
                "started": None if started is None else state.StartedAt,
                "healthy_seconds": _healthy_after(health, started, became_healthy.get(known.Id, ())),
                "restarts": known.RestartCount,
                "memory_bytes": memory.get(known.Id),
                "oom_killed": state.OOMKilled,
            }
        )
    return sorted(rows, key=lambda row: (row["service"], row["name"]))


def name_of(inspected: Mapping[str, Any]) -> str:
    """A container's name without Docker's slash."""
    return str(inspected.get("Name") or "").lstrip("/")


def _healthy_after(health: Health, started: float | None, events: Sequence[float]) -> float | None:
    """Seconds from the start to the first healthy check, None where nobody remembers it.

    Docker keeps the last five checks: the first healthy one is known when a failed one precedes it, or when there are
    fewer than five. Later Docker's event may still be known.
    """
    if started is None:
        return None
    since_start = [event for event in events if event >= started]
    if since_start:
        return round(min(since_start) - started, 3)
    log = health.Log
    healthy = [check.ExitCode == 0 for check in log]
    if True not in healthy:
        return None
    first = healthy.index(True)
    ended = _epoch(log[first].End)
    if ended is None or ended < started or (first == 0 and len(log) >= 5):
        return None
    return round(ended - started, 3)


def _epoch(text: str) -> float | None:
    """Seconds since 1970 of Docker's times; None for its zero time."""
    if not text or text.startswith(_NEVER):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
