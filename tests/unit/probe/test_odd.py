"""Answers that no sound application gives: each is a failure of the application, in words, and never one of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faultyapp import App, prober, serving

from canaryctl.config.metrics import Metric, Selector, load_metrics
from canaryctl.config.probes.parts import check_jmespath
from canaryctl.config.probes.registered import Fresh
from canaryctl.errors import ConfigError
from canaryctl.facts.jsontext import parse_json
from canaryctl.probe import kinds
from canaryctl.probe.expect import Answer, search
from canaryctl.probe.logs import read_scan
from canaryctl.probe.measure import _number
from canaryctl.probe.metrics import Samples, judge_metric
from canaryctl.probe.prometheus import read_value
from canaryctl.probe.registered import fresh_faults
from canaryctl.probe.results import Unanswered, Unusable
from canaryctl.probe.sql import parse_rows


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with serving() as server:
        yield server


@pytest.fixture
def run(app: App, tmp_path: Path) -> Any:
    return prober(app, tmp_path)


@pytest.mark.parametrize(
    "location",
    [
        "data:,x",
        "gopher:x",
        "ftp://x/",
        "https://" + "a" * 64 + ".x/",
        "https://.x/",
        "http://[::1",
        "http://[x]/",
        "http://a:99999/",
        "http://a:b/",
        "//" + "a." * 200,
        "javascript:alert(1)",
        "http://a\tb/",
    ],
)
@pytest.mark.parametrize("redirects", [0, 1, 3])
def test_a_redirect_to_nowhere_fails_and_is_told(run: Any, app: App, location: str, redirects: int) -> None:
    app.location = location
    (row,) = run(
        f'- {{name: p, kind: http, on: core, url: "{{{{ base }}}}/sent", redirects: {redirects}, timeout: 2s}}'
    )
    assert (row.verdict, row.blame) == ("failed", "system")
    assert row.reason.startswith("status 302" if not redirects else f"{row.hosts['h1'].exchanges[0].url} redirects to")
    assert row.hosts["h1"].exchanges[0].status == 302


REGISTERED = """
- name: p
  kind: registered
  on: core
  timeout: 2s
  url: "{{ base }}/told"
  kind_field: type
  kinds: {a: 1}
  fresh: {field: seen, within: 10s}
  reachable: {endpoint_field: endpoint}
"""
BIG = "9" * 400


@pytest.mark.parametrize(
    "told, said",
    [
        ('[{"type": ["a"]}, {"type": {"a": 1}}]', "no a registered"),
        (f'[{{"type": "a", "seen": {BIG}}}]', "answer is not JSON"),
        ('[{"type": "a", "seen": -Infinity}]', "answer is not JSON"),
        ('[{"type": "a", "seen": NaN}]', "answer is not JSON"),
        ('[{"type": "a", "seen": 1e999}]', "answer is not JSON"),
        ("[" * 900 + "]" * 900, "answer is not JSON"),
        ('[{"type": "a", "seen": "inf"}]', "'seen' is no time"),
        ('[{"type": "a", "seen": "2099-01-01T00:00:00Z"}]', "'seen' is in the future"),
        ('[{"type": "a", "seen": 99999999999999999}]', "'seen' is in the future"),
        ('[{"type": "a", "seen": "0001-01-01T00:00:00+14:00"}]', "stale"),
        ('[{"type": "a", "seen": true}]', "'seen' is no time"),
        ('[{"type": "a", "endpoint": "https://' + "a" * 64 + '.x/"}]', "no usable endpoint"),
        ('[{"type": "a", "endpoint": "https://.x/"}]', "no usable endpoint"),
        ('[{"type": "a", "endpoint": "http://[/"}]', "no usable endpoint"),
        ('[{"type": "a", "endpoint": "http://a b/"}]', "no usable endpoint"),
        ('[{"type": "a", "endpoint": "http://x:0/"}]', "no usable endpoint"),
        ('[{"type": "a", "endpoint": "\\ud800"}]', "no usable endpoint"),
        ("null", "'@' is no list"),
    ],
)
def test_odd_registrations_fail_in_words(run: Any, app: App, told: str, said: str) -> None:
    app.told = told
    (row,) = run(REGISTERED)
    assert row.verdict == "failed" and said in row.reason, row.reason


@pytest.mark.parametrize("told", [r'{"a": "x\ny"}', r'{"a": "\ud800"}', '{"a": [1]}', r'{"a": "\u0000"}'])
def test_a_value_that_cannot_be_used_is_the_applications_fault(run: Any, app: App, told: str) -> None:
    app.told = told
    _, row = run(
        """
- {name: saves, kind: http, on: core, url: "{{ base }}/told", save: {a: a}}
- {name: p, kind: http, on: core, needs: saves, url: "{{ base }}/health", headers: {x: "{{ a + '' }}"}, timeout: 2s}
"""
    )
    assert (row.verdict, row.blame) == ("failed", "system"), row.reason


def test_what_breaks_a_probe_is_its_answer_and_the_others_go_on(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(probe: Any, scope: Any) -> Any:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setitem(kinds.RUN, "tcp", breaks)
    broken, good = run(
        '- {name: a, kind: tcp, on: core, port: 1}\n- {name: b, kind: http, on: core, url: "{{ base }}/health"}'
    )
    assert (broken.verdict, broken.blame) == ("failed", "system")
    assert broken.reason == "its answer cannot be judged: ZeroDivisionError: division by zero"
    assert good.verdict == "passed"


def test_an_operation_whose_answer_breaks_its_lifecycle_is_cancelled(
    run: Any, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(value: Any) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr("canaryctl.probe.lifecycle.is_true", breaks)
    (row,) = run(
        """
- name: p
  kind: lifecycle
  on: core
  start: {url: "{{ base }}/start/odd", save: {op: id}}
  status: {url: "{{ base }}/operations/{{ op }}", until: "data", every: 30ms, timeout: 3s}
  cancel: {url: "{{ base }}/operations/{{ op }}"}
"""
    )
    assert row.verdict == "failed" and row.reason.endswith("ZeroDivisionError; what it started was cancelled")
    assert app.operations[row.saved["op"]]["status"] == "cancelled"


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", '{"a": -Infinity}', BIG, "1e400", "[" * 102 + "]" * 102, "", "{"]
)
def test_what_python_takes_for_json_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize("value", [0, -(2**63), 2**64 - 1, 1.5, None, [], {"a": [True]}, "\ud800", "9" * 400])
def test_json_is_read_as_it_is(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    "body", [BIG, "NaN", "1e999", '"1"', "true", "null", "[1]", '{"a": 1}', "[" * 500], ids=lambda body: body[:9]
)
def test_a_metric_reads_numbers_and_nothing_else(body: str) -> None:
    metric = Metric(name="m", statistic="last", url="http://x", on="core", jmespath="@", at_most=1)
    assert isinstance(_number(metric, Answer(200, body.encode())), str)


@pytest.mark.parametrize("expression", ["to_number('nan')", "to_number('inf')", "sum(@)"])
def test_nor_what_an_expression_makes_of_texts(expression: str) -> None:
    metric = Metric(name="m", statistic="last", url="http://x", on="core", jmespath=expression, at_most=1)
    assert isinstance(_number(metric, Answer(200, b"[1.7e308, 1.7e308]")), str)


def test_a_long_field_of_a_table_is_read_and_what_is_no_table_is_no_answer() -> None:
    assert parse_rows(f"a,b\n{'x' * 200_000},1\n")[0]["a"] == "x" * 200_000
    with pytest.raises(Unanswered, match="no table"):
        parse_rows("a\n" + "x" * (2**20 + 1))


def judged(values: dict[str, list[float]], baseline: dict[str, Any] | None = None, **more: Any) -> str:
    bounds = {key: more.pop(key) for key in list(more) if key.startswith(("at_", "ratio_"))}
    metric = Metric(name="m", url="http://x", on="core", jmespath="@", **{"statistic": "mean", **more}, **bounds)
    samples = Samples()
    for host, of_host in values.items():
        for at, value in enumerate(of_host):
            samples.add(host, float(at), [value])
    silent = [host for host in ("a", "b") if host not in samples.points]
    return judge_metric(metric, samples, baseline, silent=silent).verdict


def test_no_metric_passes_on_nothing() -> None:
    assert judged({"a": [1.0], "b": [1.0]}, at_most=2) == "passed"
    assert judged({}, at_most=2) == "inconclusive"
    assert judged({}, at_most=0, statistic="count") == "inconclusive"
    assert judged({"a": [1.0]}, at_most=2) == "inconclusive"  # b said nothing
    assert judged({"a": [9.0]}, at_most=2) == "failed"
    assert judged({"a": [1.7e308, 1.7e308], "b": [1.0]}, at_least=2) == "inconclusive"
    for value in (float("nan"), float("inf"), None):
        base = {"value": value, "n": 100}
        assert judged({"a": [1.0], "b": [1.0]}, base, ratio_at_most=1) == "inconclusive"


@pytest.mark.parametrize("bound", ["at_most", "at_least", "ratio_at_most"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bound_is_a_number(bound: str, value: float) -> None:
    with pytest.raises(ConfigError):
        load_metrics([{"name": "m", "statistic": "p50", "probe": "p", bound: value}], "x")


@pytest.mark.parametrize(
    "line", ["errors five", "errors{a=1} 5", "errors 1_000", "errors", "errors \u0665", "errors 0x5"]
)
def test_a_sum_without_a_line_that_cannot_be_read_is_none(line: str) -> None:
    assert read_value(f'errors{{a="1"}} 1\n{line}\nother 2\n', Selector("errors", {})) is None
    assert read_value('errors{a="1"} 1 # {trace="x"} 1\nerrors_total{x} 5\n', Selector("errors", {})) == 1
    assert isinstance(_number(PAGE, Answer(200, b"errors 1\n", truncated=True)), str)


PAGE = Metric(name="m", statistic="last", url="http://x", on="core", prometheus="errors", at_most=1)
FOUND = {"count": 1, "excerpts": [["t", "line"]]}
SCAN = {"lines": 1, "bytes": 1, "last": "", "code": 0, "found": [FOUND]}


@pytest.mark.parametrize(
    "change",
    [
        {"found": []},
        {"found": [FOUND, FOUND]},
        {"found": None},
        {"found": [{"count": 0, "excerpts": [["t", "line"]]}]},
        {"found": [{"count": 1, "excerpts": []}]},
        {"found": [{"count": 1, "excerpts": [["t"]]}]},
        {"found": [{"count": 1, "excerpts": [[1, 2]]}]},
        {"found": [{"count": True, "excerpts": [["t", "line"]]}]},
        {"found": [None]},
        {"lines": None},
        {"code": None},
        {"last": 5},
    ],
)
def test_a_log_was_searched_for_every_pattern_or_not_at_all(change: dict[str, Any]) -> None:
    assert read_scan(json.dumps(SCAN).encode(), 1) == SCAN
    with pytest.raises(ValueError):
        read_scan(json.dumps({**SCAN, **change}).encode(), 1)


@pytest.mark.parametrize("seen, faulty", [(1000.0, False), (1059.0, False), (1062.0, True), (5000.0, True)])
def test_an_application_that_dates_its_answer_ahead_makes_nothing_fresh(seen: float, faulty: bool) -> None:
    found = fresh_faults(Fresh.model_validate({"field": "t", "within": "1h"}), [{"t": seen}], 5000.0, 1000.0)
    assert any("is in the future" in fault for fault in found) == faulty


@pytest.mark.parametrize("expression", ["[" * 400, "(" * 5000, "a[" + "9" * 5000 + "]", "\ud800", '"\\u00'])
def test_an_expression_that_breaks_its_reader_is_a_bad_one(expression: str) -> None:
    entry = {"name": "m", "statistic": "p95", "url": "http://x", "on": "x", "jmespath": expression, "at_most": 1}
    with pytest.raises(ConfigError, match=r"bad JMESPath|a character that is none"):
        load_metrics([entry], "inventories/lab")
    with pytest.raises(Unusable, match="bad JMESPath"):
        search(expression, {})
    with pytest.raises(ValueError, match="bad JMESPath"):
        check_jmespath(expression)
