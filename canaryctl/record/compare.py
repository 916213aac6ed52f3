"""Two runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def compare(a: Document, b: Document) -> dict[str, Any]:
    """What two runs found, row by row; a probe that one of them lacks has null there."""
    rows = [{probe["name"]: probe for probe in document["probes"]} for document in (a, b)]
    return {
        "a": _side(a),
        "b": _side(b),
        "probes": [
            {"name": name, "a": _row(rows[0].get(name)), "b": _row(rows[1].get(name))}
            for name in dict.fromkeys([*rows[0], *rows[1]])
        ],
    }


def _side(document: Document) -> dict[str, Any]:
    return {key: document[key] for key in ("id", "role", "variant", "verdict")}


def _row(probe: Document | None) -> dict[str, Any] | None:
    return None if probe is None else {key: probe[key] for key in ("verdict", "reason", "seconds")}
