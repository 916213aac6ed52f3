"""Dataclasses from the agent's JSON: null and missing take the default, unknown keys are ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

F = TypeVar("F")


def one(kind: type[F], values: Mapping[str, Any] | None) -> F:
    """A dataclass from the keys it knows; lists become tuples."""
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    known = {key: value for key, value in (values or {}).items() if key in names and value is not None}
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in known.items()})


def many(kind: type[F], entries: Iterable[Mapping[str, Any]] | None) -> tuple[F, ...]:
    """One dataclass an entry."""
    return tuple(one(kind, entry) for entry in entries or ())
