"""Read JSON that others wrote, as the standard has it, and of a size that nothing which comes after breaks on."""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 64  # arrays and objects inside one another; what prints or searches a document calls itself for each
# An unsigned word: some of the kernel's and Docker's counters.
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
    _require_shallow(document)
    return document


def _refuse(name: str) -> Any:
    raise ValueError(f"it holds {name}")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"it holds a number that is too large: {digits[:20]}")
    return value


def _bounded(digits: str) -> int:
    if len(digits) > 20 or not _SMALLEST <= int(digits) <= _LARGEST:
        raise ValueError(f"it holds a number that is too large, of more than 64 bits: {digits[:20]}")
    return int(digits)


def _require_shallow(document: Any) -> None:
    level = [document] if isinstance(document, (dict, list)) else []
    for _ in range(DEEPEST):
        inner = (holder.values() if isinstance(holder, dict) else holder for holder in level)
        level = [value for values in inner for value in values if isinstance(value, (dict, list))]
        if not level:
            return
    raise ValueError("it is nested too deeply")
