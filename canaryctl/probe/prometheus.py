"""Numbers from a page in Prometheus' text exposition format."""

from __future__ import annotations

import re

from canaryctl.config.metrics import Selector, parse_labels

_LINE = re.compile(
    r"""\s*(?P<name>[A-Za-z_:][\w:]*)\s*
        (?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\}\s*)?
        (?<=[\s}])(?P<value>\S+)(?:\s+-?\d+)?\s*""",
    re.VERBOSE,
)

_NAME = re.compile(r"\s*([A-Za-z_:][\w:]*)(?![\w:])")
_VALUE = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?Inf(?:inity)?|NaN", re.IGNORECASE)


def read_value(text: str, selector: Selector) -> float | None:
    """The sum of the selected series; None where there is none, or a line of the metric that cannot be read."""
    found = []
    for line in text.split("\n"):
        name = _NAME.match(line)
        if not name or name[1] != selector.name:
            continue
        # What follows a number sign is an example that led to the value, which OpenMetrics allows.
        match = _LINE.fullmatch(line) or _LINE.fullmatch(line.rpartition(" # ")[0])
        labels = parse_labels(match["labels"] or "") if match else None
        if match is None or labels is None or not _VALUE.fullmatch(match["value"]):
            return None  # a sum without it would be another
        if selector.labels.items() <= labels.items():
            found.append(float(match["value"]))
    return sum(found) if found else None
