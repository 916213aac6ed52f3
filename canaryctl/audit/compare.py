"""Two audits of one environment side by side. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def compare_findings(before: Sequence[Row], after: Sequence[Row]) -> dict[str, list[Row]]:
    """`new`, `gone` and `same` rows of run.json's `findings`; figures in their words may differ."""
    earlier = {row["fingerprint"] for row in before}
    later = {row["fingerprint"] for row in after}
    return {
        "new": [row for row in after if row["fingerprint"] not in earlier],
        "gone": [row for row in before if row["fingerprint"] not in later],
        "same": [row for row in after if row["fingerprint"] in earlier],
    }
