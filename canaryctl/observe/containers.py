"""A project's containers in a line each, from what Docker says of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

_NEVER = "0001-"


def describe(
    host: str,
    inspected: Iterable[Mapping[str, Any]],
    memory: Mapping[str, int],
    became_healthy: Mapping[str, Sequence[float]],
) -> list[dict[str, Any]]:
    """Rows of run.json's `containers`, one a container.

    Args:
        inspected: `docker inspect` documents.
        memory: bytes by container id.
        became_healthy: by container id, epochs of Docker's own "healthy" events, where it remembers them.
    """
    rows = []
    for found in inspected:
        state, config = found.get("State") or {}, found.get("Config") or {}
        started = _epoch(state.get("StartedAt", ""))
        rows.append(
            {
                "host": host,
                "service": (config.get("Labels") or {}).get("com.docker.compose.service") or name_of(found),
                "name": name_of(found),
                "image": config.get("Image", ""),
                "image_id": found.get("Image", ""),
                "state": state.get("Status", ""),
                "health": (state.get("Health") or {}).get("Status", "").replace("none", "") or None,
                "started": None if started is None else state["StartedAt"],
                "healthy_seconds": _healthy_after(state, started, became_healthy.get(found.get("Id", ""), ())),
                "restarts": found.get("RestartCount", 0),
                "memory_bytes": memory.get(found.get("Id", "")),
                "oom_killed": bool(state.get("OOMKilled")),
            }
        )
    return sorted(rows, key=lambda row: (row["service"], row["name"]))


def name_of(inspected: Mapping[str, Any]) -> str:
    """A container's name without Docker's slash."""
    return str(inspected.get("Name", "")).lstrip("/")


def _healthy_after(state: Mapping[str, Any], started: float | None, events: Sequence[float]) -> float | None:
    """Seconds from the start to the first healthy check, None where nobody remembers it.

    Docker keeps the last five checks: the first healthy one is known when a failed one precedes it, or when there are
    fewer than five. Later Docker's event may still be known.
    """
    if started is None:
        return None
    since_start = [event for event in events if event >= started]
    if since_start:
        return round(min(since_start) - started, 3)
    log = (state.get("Health") or {}).get("Log") or []
    healthy = [check.get("ExitCode") == 0 for check in log]
    if True not in healthy:
        return None
    first = healthy.index(True)
    ended = _epoch(log[first].get("End", ""))
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
