"""Statistics of samples, the verdicts of bounds, numbers from Prometheus pages, and how faulty metrics are told."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.config.metrics import Metric, load_metrics, parse_selector
from canaryctl.errors import ConfigError
from canaryctl.probe.metrics import Samples, judge_metric, percentile, statistic
from canaryctl.probe.prometheus import read_value


def samples(*values: float, host: str = "a", every: float = 1.0) -> Samples:
    made = Samples()
    for number, value in enumerate(values):
        made.add(host, number * every, [value])
    return made


@pytest.mark.parametrize(
    "percent, values, expected",
    [
        (50, [5], 5),
        (50, [1, 2, 3, 4], 2),
        (50, [3, 1, 2], 2),
        (90, range(1, 11), 9),
        (95, range(1, 21), 19),
        (99, range(1, 101), 99),
        (99, range(1, 11), 10),
    ],
)
def test_percentiles_are_by_nearest_rank(percent: int, values: Any, expected: float) -> None:
    assert percentile(list(values), percent) == expected


@pytest.mark.parametrize(
    "name, expected", [("mean", 4), ("min", 1), ("max", 9), ("last", 2), ("count", 3), ("p50", 2), ("p99", 9)]
)
def test_statistics(name: str, expected: float) -> None:
    assert statistic(name, samples(1, 9, 2)) == expected


def test_a_rate_is_growth_a_second_over_resets_and_hosts() -> None:
    assert statistic("rate", samples(10, 20, 40, every=2)) == 30 / 4
    assert statistic("rate", samples(10, 20, 3, 5)) == (10 + 3 + 2) / 3
    both = samples(0, 10)
    both.add("b", 0, [5])
    both.add("b", 2, [9])
    assert statistic("rate", both) == 10 + 2
    assert statistic("rate", samples(10)) is None


def test_nothing_measured_has_no_statistic_but_a_count() -> None:
    assert statistic("p95", Samples()) is None and statistic("last", Samples()) is None
    assert statistic("count", Samples()) == 0


def latency(**more: Any) -> Metric:
    return Metric(**{"name": "m", "probe": "p", "statistic": "max", **more})


@pytest.mark.parametrize(
    "metric, values, baseline, verdict, said",
    [
        (latency(at_most=10), [9, 10], None, "passed", "max is 10 ms (n=2)"),
        (latency(at_most=10), [9, 11], None, "failed", "max is 11 ms (n=2), above the 10 ms allowed"),
        (latency(at_least=10), [9], None, "failed", "below the 10 ms allowed"),
        (latency(at_most=10), [], None, "inconclusive", "0 samples, but max needs 1"),
        (latency(statistic="p95", at_most=10), [1] * 19, None, "inconclusive", "19 samples, but p95 needs 20"),
        (latency(statistic="p95", at_most=10), [99] * 19, None, "inconclusive", "p95 is 99 ms (n=19)"),
        (latency(statistic="p95", at_most=10, min_samples=3), [99] * 3, None, "failed", "above"),
        (latency(statistic="p99", at_most=10), [1] * 100, None, "passed", "(n=100)"),
        (latency(statistic="p50", at_most=10), [1] * 4, None, "inconclusive", "p50 needs 5"),
        (latency(ratio_at_most=1.5), [15], {"value": 10, "n": 1}, "passed", "max is 15 ms"),
        (latency(ratio_at_most=1.5), [16], {"value": 10, "n": 1}, "failed", "above 1.5 times the baseline's 10 ms"),
        (latency(ratio_at_least=0.5), [4], {"value": 10, "n": 1}, "failed", "below 0.5 times the baseline's 10 ms"),
        (latency(ratio_at_most=1.5), [16], None, "inconclusive", "there is no baseline"),
        (latency(ratio_at_most=2, min_samples=2), [1, 1], {"value": 1, "n": 1}, "inconclusive", "baseline has 1"),
        (latency(ratio_at_most=1.5), [0], {"value": 0, "n": 1}, "passed", "max is 0 ms"),
        (latency(ratio_at_most=1.5, at_most=5), [16], None, "failed", "above the 5 ms allowed; there is no baseline"),
    ],
)
def test_a_bound_gives_a_verdict_with_its_reason(
    metric: Metric, values: list[float], baseline: dict[str, Any] | None, verdict: str, said: str
) -> None:
    result = judge_metric(metric, samples(*values), baseline)
    assert result.verdict == verdict and said in result.reason, result
    assert result.n == len(values)


def test_a_baseline_is_not_measured_by_itself() -> None:
    assert judge_metric(latency(ratio_at_most=1.1), samples(5), yardstick=True).verdict == "passed"


def test_why_there_are_too_few_samples_is_said() -> None:
    none = Samples(fault="h1: connection refused")
    assert "(the last try: h1: connection refused)" in judge_metric(latency(at_most=1), none).reason


PAGE = """\
# HELP http_requests_total How many.
# TYPE http_requests_total counter
http_requests_total{method="get",code="200"} 12
http_requests_total{method="post",code="200"} 3 1700000000000
http_requests_total{code="500",path="/a,b\\"}{"} 1.5e1
up 1
queue{}  4
odd{a=1} 5
broken line of text
heap_bytes NaN
"""


@pytest.mark.parametrize(
    "selector, value",
    [
        ("up", 1),
        ("queue", 4),
        ('http_requests_total{code="200"}', 15),
        ('http_requests_total{code="200", method="get"}', 12),
        ('http_requests_total{path="/a,b\\"}{"}', 15),
        ("http_requests_total", 30),
        ('http_requests_total{code="404"}', None),
        ("http_requests", None),
        ("odd", None),
        ("broken", None),
    ],
)
def test_a_selector_sums_the_series_it_selects(selector: str, value: float | None) -> None:
    assert read_value(PAGE, parse_selector(selector)) == value


def entry(**more: Any) -> dict[str, Any]:
    return {"name": "m", "probe": "p", "statistic": "p95", "at_most": 3, **more}


URL = {"probe": None, "url": "http://x", "on": "core", "statistic": "last"}


@pytest.mark.parametrize(
    "wrong, said",
    [
        (entry(url="http://x"), "either 'probe' or 'url'"),
        (entry(at_most=None), "at least one of at_most"),
        (entry(statistic="p42"), "'statistic'"),
        (entry(at_mots=3), "'at_mots'"),
        (entry(statistic="rate"), "a counter"),
        (entry(**URL), "either 'jmespath' or 'prometheus'"),
        (entry(**URL, jmespath="a["), "bad JMESPath"),
        (entry(**URL, prometheus="up{a=~'b'}"), "selects no series"),
        ("p95", "no list"),
        ([entry(), entry()], "two entries"),
    ],
)
def test_a_faulty_metric_is_told_by_name(wrong: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_metrics([wrong] if isinstance(wrong, dict) else wrong, "inventories/prod")
    assert said in caught.value.what and caught.value.where == "inventories/prod" and caught.value.hint


def test_yamls_reading_of_on_is_put_right() -> None:
    made = {key: value for key, value in entry(**URL, prometheus="up").items() if key != "on"}
    assert load_metrics([made | {"True": "core"}], "")[0].on == "core"
