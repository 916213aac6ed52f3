"""What is promoted, or forced past promotion, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from canaryctl.cli.output import clean


def promotion_text(promotion: Mapping[str, Any]) -> str:
    """A promotion in a few lines."""
    from canaryctl.promotion import lines_of

    return "\n".join(clean(line) for line in lines_of(promotion))


def print_promotion(answer: Mapping[str, Any]) -> None:
    """What a plan would promote, and what it would force."""
    if answer["promotion"]:
        typer.echo(promotion_text(answer["promotion"]))
    for refused in (answer["forced"] or {}).get("overrides", ()):
        typer.echo(clean(f"forced: {refused}"))
