"""The time as records have it. What durations are read as: test_probes.py."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from canaryctl.config.durations import now


def test_the_time_is_utc_to_the_microsecond_so_that_texts_sort_as_times_do() -> None:
    text = now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(seconds=5)
    assert now(ago=0.5) < text <= now()
