"""Whether what is measured again and again stays level, and how that looks: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

_BARS = "▁▂▃▄▅▆▇█"
WIDTH = 50

# What each may grow by, in its own unit, on top of a tenth.
SLACK = {
    "memory of canaryctl, MiB": 20.0,
    "descriptors of canaryctl": 8.0,
    "evidence of a run, KiB": 200.0,
    "caches here without layers, MiB": 2.0,
    "scratch here, files": 0.0,
    "processes here": 0.0,
    "memory of dockerd and containerd, MiB": 40.0,
    "descriptors of dockerd": 20.0,
    "processes on the host": 6.0,
    "/opt/canaryctl, KiB": 400.0,
    "scratch on the host, files": 0.0,
    "Docker's data, MiB": 40.0,
    "containers": 0.0,
    "images": 1.0,
    "volumes": 0.0,
    "networks": 0.0,
}
OF_COMMAND = ("memory of canaryctl, MiB", "descriptors of canaryctl")  # not measured where a fault came between


def growth(values: Sequence[float]) -> float:
    """The median of the last quarter, less that of the second: the first is where things fill up."""
    if len(values) < 8:
        return 0.0
    quarter = len(values) // 4
    return median(values[-quarter:]) - median(values[quarter : 2 * quarter])


def level(name: str, values: Sequence[float]) -> bool:
    """Whether a measure has grown by no more than a tenth and its slack."""
    quarter = len(values) // 4
    base = median(values[quarter : 2 * quarter]) if len(values) >= 8 else 0.0
    return growth(values) <= 0.1 * base + SLACK[name]


def plot(measures: Mapping[str, Sequence[float]]) -> str:
    """A line a measure: its course, where it began, its highest and its last, and whether it is level."""
    widest = max(map(len, measures), default=0)
    lines = [f"{'':<{widest}}  {'course':<{WIDTH}}  {'first':>8} {'most':>8} {'last':>8}"]
    for name, values in measures.items():
        verdict = "level" if level(name, values) else f"GROWS by {growth(values):.1f}"
        first, most, last = values[0], max(values), values[-1]
        lines.append(f"{name:<{widest}}  {course(values):<{WIDTH}}  {first:8.1f} {most:8.1f} {last:8.1f}  {verdict}")
    return "\n".join(lines) + "\n"


def course(values: Sequence[float]) -> str:
    """Values as bars from 0 to their highest, at most WIDTH of them."""
    count = min(WIDTH, len(values))
    edges = [len(values) * n // count for n in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    top = max(means) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int(mean / top * len(_BARS)))] for mean in means)
