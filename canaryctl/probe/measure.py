"""Take samples of metrics: latencies from what probes found, numbers from URLs through the hosts' SSH connections."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from canaryctl.config.metrics import Metric, parse_selector
from canaryctl.config.probes import Request
from canaryctl.errors import CanaryError, ConfigError, HostError
from canaryctl.probe.context import ProbeContext
from canaryctl.probe.exchange import ask
from canaryctl.probe.expect import MAX_READ, Answer, Shapeless, show, start
from canaryctl.probe.metrics import MetricResult, Samples, judge_metric
from canaryctl.probe.prometheus import read_value
from canaryctl.probe.results import ProbeResult, Unanswered, Unusable, unjudged
from canaryctl.probe.scope import Scope

TIMEOUT = 5.0  # seconds for one URL
AT_ONCE = 8


class Meter:
    """Collects the samples of all metrics of a run. `metrics` are by host: a URL may hold a host's own address."""

    def __init__(self, metrics: Mapping[str, Sequence[Metric]], context: ProbeContext) -> None:
        self._by_host = {host: {metric.name: metric for metric in found} for host, found in metrics.items()}
        self._metrics = next(iter(self._by_host.values()), {})
        self._context = context
        self._samples = {name: Samples() for name in self._metrics}

    def check(self, where: str) -> None:
        """Check that metrics are on groups or services that exist.

        Raises:
            ConfigError: names the metric.
        """
        for name, metric in self._metrics.items():
            if metric.on is not None and not self._context.knows(metric.on):
                variables = self._context.variables
                known = [*variables.get("groups", {}), *variables.get("service_hosts", {})]
                raise ConfigError(
                    f"canary_metrics '{name}' is on '{metric.on}', which is neither a group nor a service",
                    where,
                    f"there are: {', '.join(sorted(known))}",
                )

    def add(self, results: Sequence[ProbeResult]) -> None:
        """Take the latencies of probes that ran."""
        now = time.monotonic()
        for name, metric in self._metrics.items():
            for result in results:
                if result.name == metric.probe:
                    for host, one in result.hosts.items():
                        self._samples[name].add(host, now, one.latencies)

    def scrape(self) -> None:
        """Ask every URL once on each of its hosts; what gives no number is no sample."""
        asked: dict[tuple[str, str], list[Metric]] = {}
        for name, metric in self._metrics.items():
            for host in self._context.hosts_of(metric.on) if metric.on else ():
                own = self._by_host[host].get(name, metric)
                asked.setdefault((host, own.url or ""), []).append(own)
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            answers = list(pool.map(lambda place: _fetch(self._context, *place), asked))
        for (host, _), metrics, (at, answer) in zip(asked, asked.values(), answers, strict=True):
            for metric in metrics:
                value = answer if isinstance(answer, str) else _number_or_fault(metric, answer)
                if isinstance(value, float):
                    self._samples[metric.name].add(host, at, [value])
                else:
                    self._samples[metric.name].fault = self._context.scrub(f"{host}: {value}")

    def results(self, baseline: Sequence[Mapping[str, Any]] | None, *, yardstick: bool) -> list[MetricResult]:
        """One row a metric. `baseline` are the rows of the baseline run; `yardstick`: this is that run."""
        rows = {row["name"]: row for row in baseline or ()}
        return [
            judge_metric(
                metric, self._samples[name], rows.get(name), yardstick=yardstick, silent=self._silent(name, metric)
            )
            for name, metric in self._metrics.items()
        ]

    def _silent(self, name: str, metric: Metric) -> list[str]:
        """Hosts whose URL never gave a number."""
        hosts = self._context.hosts_of(metric.on) if metric.on else ()
        return [host for host in hosts if host not in self._samples[name].points]


def _fetch(context: ProbeContext, host: str, url: str) -> tuple[float, Answer | str]:
    """The answer and when it was asked for; a string where there is none, saying why."""
    now = time.monotonic()
    scope = Scope(context, host, context.names_on(host), now + TIMEOUT, threading.Event())
    try:
        answer = ask(scope, Request(url=url), "metric", TIMEOUT)
    except Unanswered as error:
        return now, error.reason
    except (Unusable, HostError) as error:
        return now, str(error)
    except CanaryError:
        raise
    except Exception as error:
        return now, unjudged(error).reason
    if not 200 <= answer.status < 300:
        return now, f"status {answer.status}: {start(answer.text)}"
    return now, answer


def _number_or_fault(metric: Metric, answer: Answer) -> float | str:
    try:
        return _number(metric, answer)
    except Exception as error:  # one odd answer is no sample; the other metrics and the verdict go on
        return unjudged(error).reason


def _number(metric: Metric, answer: Answer) -> float | str:
    """The number a metric reads from an answer, or why there is none."""
    if metric.jmespath is not None:
        try:
            value = answer.find(metric.jmespath)
        except (Shapeless, Unusable) as error:
            return str(error)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"'{metric.jmespath}' is no number: {show(value)}"
    else:
        selector = metric.prometheus or ""
        if answer.truncated:  # a part of the series would make a part of the sum
            return f"the page is larger than {MAX_READ // 1024} KiB and was not read further"
        value = read_value(answer.text, parse_selector(selector))
        if value is None:
            return f"no series {selector} on the page, or not all of it can be read"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    return number if math.isfinite(number) else f"{show(value)} is no number to judge by"
