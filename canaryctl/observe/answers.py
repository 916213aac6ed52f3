"""What hosts answer, read as JSON without believing them: bounded in every way, and nothing but JSON. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

DEEPEST = 64  # lists and objects within each other
MOST_VALUES = 500_000  # that an answer holds; each takes about 100 bytes of memory, whatever it took to send
LARGEST_NUMBER = 2**64  # an unsigned word: some of the kernel's and Docker's counters
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.S)


def read_answer(text: str | bytes) -> Any:
    """A JSON document of a host.

    Raises:
        ValueError: it is none, or one that no program of ours writes: NaN, endless numbers, too deep, too many values.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if _values(text) > MOST_VALUES and _values(_STRING.sub('""', text)) > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES} values")
    try:
        document = json.loads(text, parse_constant=_refuse, parse_int=_integer, parse_float=_float)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _demand_shallow(document)
    if "\\ud" in text.lower():
        # Halves of characters, on which everything that writes text would stumble.
        document = json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    return document


def _values(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}")


def _integer(digits: str) -> int:
    number = int(digits) if len(digits) < 25 else LARGEST_NUMBER
    if abs(number) >= LARGEST_NUMBER:
        raise ValueError("it holds a number that is too large")
    return number


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("it holds a number that is too large")
    return number


def _demand_shallow(document: Any) -> None:
    level = [document] if isinstance(document, (dict, list)) else []
    for _ in range(DEEPEST):
        inner = (holder.values() if isinstance(holder, dict) else holder for holder in level)
        level = [value for values in inner for value in values if isinstance(value, (dict, list))]
        if not level:
            return
    raise ValueError("it is nested too deeply")
