"""What is promoted, or forced past promotion, for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from canaryctl.cli.output import Printer, field


def promotion_text(promotion: Mapping[str, Any]) -> str:
    """A promotion in a few lines."""
    from canaryctl.plan.promotion import lines_of

    return "\n".join(field(line) for line in lines_of(promotion))


def print_promotion(answer: Mapping[str, Any]) -> None:
    """What a plan would promote, and what it would force."""
    if answer["promotion"]:
        Printer(sys.stdout).line(promotion_text(answer["promotion"]))
    for refused in (answer["forced"] or {}).get("overrides", ()):
        Printer(sys.stdout).line(f"forced: {field(refused)}")
