"""`canary_metrics`: bounds on measured values, one model an entry, and the selectors of Prometheus series."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from canaryctl.errors import ConfigError

Statistic = Literal["p50", "p90", "p95", "p99", "mean", "min", "max", "last", "count", "rate"]
# A percentile is only told from the maximum by so many samples; a rate is a difference.
_LEAST = {"p50": 5, "p90": 10, "p95": 20, "p99": 100, "rate": 2}
_BOUNDS = ("at_most", "at_least", "ratio_at_most", "ratio_at_least")
_SELECTOR = re.compile(r"\s*([A-Za-z_:][\w:]*)\s*(?:\{\s*(.*?)\s*\}\s*)?", re.DOTALL)
_LABEL = re.compile(r'\s*([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
Bound = Annotated[float, Field(allow_inf_nan=False)]  # nothing is above or below NaN
_ESCAPES = {"n": "\n"}


@dataclass(frozen=True)
class Selector:
    """Series of a metric name that have these labels, whatever others they have."""

    name: str
    labels: Mapping[str, str]


def parse_selector(text: str) -> Selector:
    """Read `metric` or `metric{label="value"}`.

    Raises:
        ValueError: it is neither.
    """
    match = _SELECTOR.fullmatch(text)
    labels = parse_labels(match[2] or "") if match else None
    if match is None or labels is None:
        raise ValueError(f"'{text}' selects no series; write metric or metric{{label=\"value\"}}")
    return Selector(match[1], labels)


def parse_labels(text: str) -> dict[str, str] | None:
    """What stands between the braces of a series; None where that is malformed."""
    labels, at = {}, 0
    while at < len(text):
        found = _LABEL.match(text, at)
        if not found:
            return None
        labels[found[1]] = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), found[2])
        at = found.end()
    return labels


def _jmespath(text: str) -> str:
    try:
        jmespath.compile(text)
    except (JMESPathError, RecursionError, ValueError) as error:
        raise ValueError(f"bad JMESPath '{text}': {' '.join(str(error).split())}") from None
    return text


def _selector(text: str) -> str:
    parse_selector(text)
    return text


class Metric(BaseModel):
    """A bound on a measured value: on the latency of a probe's requests, or on a number that a URL answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=120)]
    statistic: Statistic
    probe: str | None = None
    url: str | None = None
    on: str | None = None
    jmespath: Annotated[str, AfterValidator(_jmespath)] | None = None
    prometheus: Annotated[str, AfterValidator(_selector)] | None = None
    at_most: Bound | None = None
    at_least: Bound | None = None
    ratio_at_most: Annotated[Bound, Field(gt=0)] | None = None
    ratio_at_least: Annotated[Bound, Field(gt=0)] | None = None
    min_samples: Annotated[int, Field(ge=1)] | None = None
    gates: bool = True

    @property
    def needed(self) -> int:
        """Fewest samples that make the statistic worth judging."""
        return self.min_samples or _LEAST.get(self.statistic, 1)

    @property
    def bound(self) -> dict[str, float]:
        """The bounds that are set, by name."""
        return {name: getattr(self, name) for name in _BOUNDS if getattr(self, name) is not None}

    @model_validator(mode="after")
    def _whole(self) -> Metric:
        if (self.probe is None) == (self.url is None):
            raise ValueError("a metric has either 'probe' or 'url'")
        reads = [key for key in ("jmespath", "prometheus") if getattr(self, key) is not None]
        if self.url is not None and (self.on is None or len(reads) != 1):
            raise ValueError("a metric with 'url' says 'on' which hosts, and either 'jmespath' or 'prometheus'")
        if self.probe is not None and (self.on is not None or reads):
            raise ValueError("'on', 'jmespath' and 'prometheus' go with 'url'; a probe has hosts of its own")
        if self.probe is not None and self.statistic == "rate":
            raise ValueError("'rate' is the growth of a counter, which a probe's latency is not; use 'url'")
        if not self.bound:
            raise ValueError(f"a metric has at least one of {', '.join(_BOUNDS)}")
        return self


_ADAPTER: TypeAdapter[tuple[Metric, ...]] = TypeAdapter(tuple[Metric, ...])


def load_metrics(value: Any, where: str) -> tuple[Metric, ...]:
    """The entries of `canary_metrics`.

    Raises:
        ConfigError: what is wrong with which entry.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(e, Mapping) for e in value):
        raise ConfigError("canary_metrics is no list of mappings", where, "see docs/environments.md")
    # YAML 1.1 reads the bare key `on` as the boolean true.
    entries = [{"on" if str(key) == "True" else key: item for key, item in entry.items()} for entry in value]
    try:
        metrics = _ADAPTER.validate_python(entries)
    except UnicodeError:  # half of a pair of surrogates, as "\\ud800" in YAML
        raise ConfigError("canary_metrics holds a character that is none", where, "fix the entry") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        index, *key = first["loc"]
        named = entries[int(index)].get("name", int(index) + 1)
        what = first["msg"].removeprefix("Value error, ")
        at = f", '{'.'.join(map(str, key))}'" if key else ""
        hint = f"keys: {', '.join(Metric.model_fields)}" if first["type"] == "extra_forbidden" else "fix the entry"
        raise ConfigError(f"canary_metrics '{named}'{at}: {what}", where, hint) from None
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two entries of canary_metrics are named '{name}'", where, "rename one of them")
    return metrics
