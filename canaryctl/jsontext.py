"""Read JSON that others wrote, as the standard has it, and of a size that nothing which comes after breaks on."""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 100  # arrays and objects inside one another; what prints or searches a document calls itself for each
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


def parse_json(text: str | bytes) -> Any:
    """A JSON document.

    Python's reader takes more than JSON is: NaN and Infinity, which satisfy comparisons that no number does, and
    integers that no float holds. Both are refused, and so are numbers that only a float's infinity could stand for.

    Raises:
        ValueError: it is no JSON; has numbers beyond 64 bits; is deeper than DEEPEST.
    """
    try:
        document = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_bounded)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(document)
    return document


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _bounded(digits: str) -> int:
    if len(digits) > 20 or not _SMALLEST <= int(digits) <= _LARGEST:
        raise ValueError(f"the number {digits[:20]}... has more than 64 bits")
    return int(digits)


def _check_depth(document: Any) -> None:
    level, depth = [document], 0
    while level := [item for value in level for item in _inside(value)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
