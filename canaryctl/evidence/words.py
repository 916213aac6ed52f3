"""Figures as people write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def human_size(size: float | None) -> str:
    """Bytes: 1.4 GB."""
    if size is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def human_seconds(seconds: float | None) -> str:
    """A duration: 0.12 s, 4.2 s, 3 min 05 s."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


def away_in_all(gaps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The `gaps` of a run put together: how long each service of each host was away, and is foretold to be.

    A service that has not come back has no `seconds`.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for gap in gaps:
        row = found.setdefault((gap["host"], gap["service"]), {**gap, "seconds": 0.0})
        before, more = row["seconds"], gap.get("seconds")
        row["seconds"] = None if before is None or more is None else round(before + more, 2)
        row["foretold"] = row.get("foretold") or gap.get("foretold")
    return list(found.values())


def human_ms(milliseconds: float | None) -> str:
    """A latency: 4.6 ms, 120 ms, 3.2 s."""
    if milliseconds is None:
        return ""
    if milliseconds >= 1000:
        return human_seconds(milliseconds / 1000)
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"


def figure(value: float | None) -> str:
    """A number with the digits that matter: 30, 14.2, 0.000831."""
    return "" if value is None else f"{value:.10g}"


def bound_words(bound: Mapping[str, float] | None) -> str:
    """A metric's bounds: at most 50, ratio at most 1.2."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in (bound or {}).items())


def flaky_words(row: Mapping[str, Any]) -> str:
    """What is said of a probe that passed after more failed attempts than it allows."""
    failed = int(row.get("attempts") or 1) - 1
    return f"flaky: passed after {failed} failed attempt{'' if failed == 1 else 's'}"
