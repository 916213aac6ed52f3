"""Metrics: samples, what a statistic makes of them, and the verdict a bound gives. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from canaryctl.config.metrics import Metric

KEPT = 10_000  # latest samples of a metric on one host that statistics are made of


@dataclass
class Samples:
    """Values of one metric by host, each with its time in seconds, and how many there ever were.

    `fault` says why the last attempt to get one gave none.
    """

    points: dict[str, deque[tuple[float, float]]] = field(default_factory=dict)
    n: int = 0
    fault: str = ""

    def add(self, host: str, at: float, values: Iterable[float]) -> None:
        """Take values of a host, measured at the same time."""
        kept = self.points.setdefault(host, deque(maxlen=KEPT))
        for value in values:
            kept.append((at, value))
            self.n += 1

    @property
    def values(self) -> list[float]:
        """The values of all hosts together, by time."""
        return [value for _, value in sorted((p for kept in self.points.values() for p in kept), key=lambda p: p[0])]


@dataclass(frozen=True)
class MetricResult:
    """One row of run.json's `metrics`."""

    name: str
    verdict: Literal["passed", "failed", "inconclusive"]
    statistic: str
    value: float | None
    unit: str
    n: int
    bound: dict[str, float]
    baseline: float | None
    reason: str
    gates: bool
    source: str

    def as_dict(self) -> dict[str, Any]:
        """The row, ready for JSON."""
        return {**vars(self), "value": _rounded(self.value), "baseline": _rounded(self.baseline)}


def statistic(name: str, samples: Samples) -> float | None:
    """What a statistic makes of samples; None where there are too few for it at all.

    Percentiles are by nearest rank: the smallest sample that so many percent of all are not above. `rate` is growth
    a second, summed over hosts; a counter that fell was reset and counts from zero.
    """
    values = samples.values
    if name == "count":
        return float(samples.n)
    if name == "rate":
        return _rate(samples)
    if not values:
        return None
    if name.startswith("p"):
        return percentile(values, int(name[1:]))
    return {"mean": lambda: sum(values) / len(values), "min": lambda: min(values), "max": lambda: max(values)}.get(
        name, lambda: values[-1]
    )()


def percentile(values: Sequence[float], percent: int) -> float:
    """Nearest rank: the ceil(percent/100 * n)-th smallest of at least one value."""
    return sorted(values)[max(math.ceil(percent * len(values) / 100), 1) - 1]


def _rate(samples: Samples) -> float | None:
    rates = []
    for points in samples.points.values():
        seconds = points[-1][0] - points[0][0] if points else 0.0
        if seconds > 0:
            growth = sum(new - old if new >= old else new for (_, old), (_, new) in pairwise(points))
            rates.append(growth / seconds)
    return sum(rates) if rates else None


def judge_metric(
    metric: Metric,
    samples: Samples,
    baseline: Mapping[str, Any] | None = None,
    *,
    yardstick: bool = False,
    silent: Sequence[str] = (),
) -> MetricResult:
    """The verdict of a metric's bounds.

    Args:
        baseline: the metric's row in the baseline run.
        yardstick: this is the baseline run: ratio bounds are for the candidate.
        silent: hosts that gave no sample, of which the others' say nothing.
    """
    value = statistic(metric.statistic, samples)
    unit = _unit(metric)
    base = baseline["value"] if baseline and baseline["n"] >= metric.needed else None
    base = base if base is None or math.isfinite(base) else None
    faults, doubts = [], []
    if value is None or samples.n < metric.needed:
        doubts.append(_too_few(metric, samples))
    elif not math.isfinite(value):
        doubts.append(f"{metric.statistic} is beyond all numbers")
    else:
        for name, limit in metric.bound.items():
            if not name.startswith("ratio"):
                faults += _fault(name, value, limit, f"the {_number(limit, unit)} allowed")
            elif yardstick:
                continue
            elif base is None or base < 0:
                doubts.append(_no_baseline(metric, baseline, base))
            else:
                faults += _fault(name, value, limit * base, f"{limit:g} times the baseline's {_number(base, unit)}")
    if silent and samples.n:
        why = f" (the last try: {samples.fault})" if samples.fault else ""
        doubts.append(f"no sample of {', '.join(silent)}{why}")
    verdict: Literal["passed", "failed", "inconclusive"]
    verdict = "failed" if faults else "inconclusive" if doubts else "passed"
    measured = f"{metric.statistic} is {_number(value, unit)} (n={samples.n})" if value is not None else ""
    return MetricResult(
        name=metric.name,
        verdict=verdict,
        statistic=metric.statistic,
        value=value,
        unit=unit,
        n=samples.n,
        bound=metric.bound,
        baseline=base,
        reason="; ".join([", ".join(filter(None, [measured, *faults])), *dict.fromkeys(doubts)]).removeprefix("; "),
        gates=metric.gates,
        source=metric.probe or metric.url or "",
    )


def _fault(name: str, value: float, limit: float, words: str) -> list[str]:
    if name.endswith("at_most"):
        return [f"above {words}"] if value > limit else []
    return [f"below {words}"] if value < limit else []


def _too_few(metric: Metric, samples: Samples) -> str:
    few = f"{samples.n} sample{'s' if samples.n != 1 else ''}"
    why = f" (the last try: {samples.fault})" if samples.fault else ""
    if samples.n >= metric.needed:
        return f"{few} on no host make a {metric.statistic}{why}"
    return f"{few}, but {metric.statistic} needs {metric.needed}{why}"


def _no_baseline(metric: Metric, baseline: Mapping[str, Any] | None, base: float | None) -> str:
    if baseline is None:
        return "there is no baseline to compare with"
    if base is not None:
        return f"the baseline's value is {base:g}, of which there is no ratio"
    return f"the baseline has {baseline['n']} samples, but {metric.statistic} needs {metric.needed}"


def _unit(metric: Metric) -> str:
    if metric.statistic == "count":
        return ""
    if metric.probe is not None:
        return "ms"
    return "/s" if metric.statistic == "rate" else ""


def _number(value: float, unit: str) -> str:
    return f"{value:.6g}{' ' if unit == 'ms' else ''}{unit}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.9g}")
