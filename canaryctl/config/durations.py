"""Durations as people write them: `500ms`, `3s`, `2m`, `1h`, `1m30s`, `30d`; and the time as records have it."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 100  # characters
_PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"


def parse_duration(value: Any) -> float:
    """Seconds of a written duration. A float that is already seconds (a default) passes through.

    Raises:
        ValueError: no unit, or not a duration.
    """
    if isinstance(value, float) and math.isfinite(value) and value >= 0:
        return value
    text = str(value).replace(" ", "") if isinstance(value, (str, int)) else ""
    if len(text) > _LONGEST or not re.fullmatch(f"(?:{_PART})+", text):
        raise ValueError(f"'{str(value)[:100]}' is not a duration; write it with its unit, for example 500ms, 3s or 2m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
    if not math.isfinite(seconds):
        raise ValueError(f"'{str(value)[:20]}...' is longer than any duration")
    return seconds


def show_duration(seconds: float) -> str:
    """A duration as the reports print it.

    >>> show_duration(0.25), show_duration(3.0), show_duration(90)
    ('250 ms', '3 s', '1 m 30 s')
    """
    if not math.isfinite(seconds):
        return f"{seconds} s"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest} s" if rest else f"{minutes} m"


Duration = Annotated[float, BeforeValidator(parse_duration)]


def now(ago: float = 0.0) -> str:
    """The current time, or that of `ago` seconds before: RFC 3339 in UTC, to the microsecond."""
    moment = datetime.now(UTC) - timedelta(seconds=ago)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
