"""Numbers from a page in Prometheus' text exposition format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from canaryctl.config.metrics import Selector, parse_labels

_LINE = re.compile(
    r"""\s*(?P<name>[A-Za-z_:][\w:]*)\s*
        (?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\}\s*)?
        (?<=[\s}])(?P<value>\S+)(?:\s+-?\d+)?\s*""",
    re.VERBOSE,
)


def series(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Every sample on the page: name, labels, value. Comments and lines of another form are passed over."""
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if not match or line.lstrip().startswith("#"):
            continue
        labels = parse_labels(match["labels"] or "")
        if labels is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        yield match["name"], labels, value


def read_value(text: str, selector: Selector) -> float | None:
    """The sum of the selected series; None where there is none."""
    found = [
        value
        for name, labels, value in series(text)
        if name == selector.name and selector.labels.items() <= labels.items()
    ]
    return sum(found) if found else None
