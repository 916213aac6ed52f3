"""Strategies: the YAML files beside the application."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class UnknownStrategy(LookupError):  # noqa: N818  a user's mistake, told as it is
    """No strategy of that name; the message lists the valid ones."""


@dataclass(frozen=True)
class Strategy:
    """One strategy. `indicators` maps a name to its type and period; the rest parametrises training and trading."""

    name: str
    description: str
    indicators: dict[str, dict[str, Any]]
    training: dict[str, Any]
    trading: dict[str, Any]


def names(folder: Path) -> list[str]:
    """Names of the strategies in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(folder: Path, name: str) -> Strategy:
    """The strategy called `name`; raises UnknownStrategy."""
    valid = names(folder)
    # Looked up in the listing, never joined to a path as it came: a name is a caller's input.
    if name not in valid:
        raise UnknownStrategy(f"unknown strategy '{name}'; valid: {', '.join(valid) or 'none'}")
    return Strategy(**yaml.safe_load((folder / f"{name}.yaml").read_text()))


def describe(folder: Path) -> list[dict[str, Any]]:
    """Name and description of each strategy, for listings."""
    loaded = [load(folder, name) for name in names(folder)]
    return [{"name": strategy.name, "description": strategy.description} for strategy in loaded]
