"""What is promoted, or forced past promotion, for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from canaryctl.cli.output import Printer, field
from canaryctl.commands.words import promotion_lines


def promotion_text(promotion: Mapping[str, Any]) -> str:
    """A promotion in a few lines."""
    return "\n".join(field(line) for line in promotion_lines(promotion))


def print_promotion(answer: Mapping[str, Any]) -> None:
    """What a plan would promote, and what it would force."""
    if answer["promotion"]:
        Printer(sys.stdout).line(promotion_text(answer["promotion"]))
    for refused in (answer["forced"] or {}).get("overrides", ()):
        Printer(sys.stdout).line(f"forced: {field(refused)}")
