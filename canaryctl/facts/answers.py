"""What hosts answer, read as JSON without believing them: bounded in every way, and nothing but JSON. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from canaryctl.facts.jsontext import parse_json

MOST_VALUES = 500_000  # that an answer holds; each takes about 100 bytes of memory, whatever it took to send
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
    document = parse_json(text)
    if "\\ud" in text.lower():
        # Halves of characters, on which everything that writes text would stumble.
        document = json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    return document


def _values(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")
