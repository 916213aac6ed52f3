"""Probes against real servers on loopback: good answers, bad ones, late ones, none."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faultyapp import App, prober, serving

from canaryctl.errors import ConfigError


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with serving() as server:
        yield server


@pytest.fixture
def run(app: App, tmp_path: Path) -> Any:
    return prober(app, tmp_path)


def http(path: str, more: str = "") -> str:
    return f'- {{name: p, kind: http, on: core, url: "{{{{ base }}}}/{path}", timeout: 2s{more}}}\n'


@pytest.mark.parametrize(
    "path, more, verdict, said",
    [
        ("health", ", expect: {status: 200, jmespath: \"status == 'healthy'\"}", "passed", "status 200 in"),
        ("broken", "", "failed", 'status 500, expected 2xx: \'{"detail": "no database"}\''),
        ("html", ", expect: {jmespath: \"status == 'healthy'\"}", "failed", "answer is not JSON: text/html"),
        ("slow/60", "", "failed", "within 2 s"),
        ("drip", "", "failed", "within 2 s"),
        ("close", "", "failed", "closed the connection"),
        ("short", "", "failed", "closed the connection"),
        ("loop", "", "failed", "status 302, expected 2xx, redirects to /loop"),
        ("loop", ", redirects: 3", "failed", "status 302, expected 2xx, redirects to /loop"),
        ("moved", ", redirects: 1", "passed", "status 200"),
        ("huge", ", expect: {jmespath: a}", "failed", "larger than 1024 KiB"),
        ("huge", "", "passed", "status 200"),
        ("health", ', headers: {"x y": "a"}', "inconclusive", "cannot be"),
    ],
)
def test_one_request(run: Any, path: str, more: str, verdict: str, said: str) -> None:
    began = time.monotonic()
    (row,) = run(http(path, more))
    assert row.verdict == verdict, row.reason
    assert said in row.reason
    assert row.blame == {"passed": None, "failed": "system", "inconclusive": "probe"}[verdict]
    assert time.monotonic() - began < 15


def test_evidence_is_bounded_and_scrubbed(run: Any) -> None:
    (row,) = run(http("huge"))
    (exchange,) = row.as_dict()["exchanges"]
    assert len(exchange["body"]) == 64 * 1024 and exchange["truncated"]
    (row,) = run(http("health", ", expect: {jmespath: \"token == 'other'\"}"))
    assert "s3cret" not in json.dumps(row.as_dict()) and "[secret]" in row.reason


def test_refused_says_where_from(run: Any) -> None:
    (row,) = run('- {name: p, kind: http, on: core, url: "http://127.0.0.1:1/x", timeout: 3s}')
    assert row.reason == "connection refused: http://127.0.0.1:1/x from h1"
    (row,) = run("- {name: p, kind: tcp, on: core, port: 1}")
    assert row.reason == "connection refused: 127.0.0.1:1 from h1"


def test_eventually_tries_again_and_records_each_attempt(run: Any) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    (row,) = run(http("third/a", ", eventually: 5s, every: 20ms, expect: {jmespath: 'count == `3`'}"), events=events)
    assert (row.verdict, row.attempts) == ("passed", 3)
    assert [e["status"] for e in row.as_dict()["exchanges"]] == [503, 503, 200]
    assert [kind for kind, _ in events] == ["probe.started", "probe.attempt", "probe.attempt", "probe.finished"]


@pytest.mark.parametrize("retries, flaky", [("", False), (", retries: 2", False), (", retries: 1", True)])
def test_a_pass_after_more_failures_than_allowed_is_flaky(run: Any, app: App, retries: str, flaky: bool) -> None:
    app.calls.clear()
    (row,) = run(http("third/b", f", eventually: 5s, every: 20ms{retries}"))
    assert (row.verdict, row.attempts, row.as_dict()["flaky"]) == ("passed", 3, flaky)


def test_what_failed_is_never_flaky(run: Any) -> None:
    (row,) = run(http("broken", ", eventually: 200ms, every: 20ms, retries: 0"))
    assert row.verdict == "failed" and not row.as_dict()["flaky"]


def test_eventually_ends(run: Any) -> None:
    (row,) = run(http("broken", ", eventually: 2s, every: 50ms"))
    assert row.verdict == "failed" and "attempts in" in row.reason and row.attempts > 2
    (exchange,) = row.as_dict()["exchanges"]
    assert exchange["times"] == row.attempts


def test_what_needs_a_failed_probe_is_skipped_and_what_needs_a_passed_one_sees_its_values(run: Any) -> None:
    rows = run(
        """
- {name: Skipped, kind: tcp, on: core, needs: [Broken], port: 1}
- {name: Broken, kind: http, on: core, url: "{{ base }}/broken"}
- {name: User, kind: http, on: core, needs: Saver, url: "{{ base }}/{{ word }}"}
- {name: Saver, kind: http, on: core, url: "{{ base }}/health", save: {word: "status && 'health'"}}
- {name: Nowhere, kind: tcp, on: empty, port: 1}
- {name: Not placed, kind: exec, on: gpu, command: "true"}
"""
    )
    assert [row.verdict for row in rows] == ["skipped", "failed", "passed", "passed", "skipped", "skipped"]
    assert rows[0].reason == "needs 'Broken', which failed"
    assert rows[4].reason == "'empty' has no hosts"


def test_a_group_is_one_row_and_a_lost_host_is_named(run: Any) -> None:
    both, mixed = run(
        """
- {name: Both, kind: http, on: both, url: "{{ base }}/health"}
- {name: Mixed, kind: http, on: mixed, url: "{{ base }}/health"}
"""
    )
    assert both.verdict == "passed" and set(both.hosts) == {"h1", "h2"}
    assert mixed.verdict == "failed" and mixed.unreachable == ("lost",)
    assert mixed.reason == "lost: lost cannot be reached over SSH: no route to host"


def test_independent_probes_run_at_once(run: Any) -> None:
    probe = '- {{name: p{}, kind: http, on: core, url: "{{{{ base }}}}/together", timeout: 15s}}\n'
    assert {row.verdict for row in run("".join(probe.format(n) for n in range(6)))} == {"passed"}


def test_the_deadline_bounds_the_whole_set(run: Any) -> None:
    began = time.monotonic()
    rows = run(
        """
- {name: a, kind: http, on: core, url: "{{ base }}/slow/60", timeout: 1m}
- {name: b, kind: http, on: core, url: "{{ base }}/broken", eventually: 5m, every: 100ms}
- {name: c, kind: http, on: core, needs: a, url: "{{ base }}/health"}
""",
        deadline=0.5,
    )
    assert [row.verdict for row in rows] == ["failed", "failed", "skipped"]
    assert time.monotonic() - began < 15


def test_an_undefined_name_stops_everything_before_it_starts(run: Any, app: App) -> None:
    app.calls.clear()
    with pytest.raises(ConfigError, match="'nope', which is not defined"):
        run(http("health") + '- {name: q, kind: http, on: core, url: "{{ nope }}"}')
    assert app.calls == []


def test_an_interrupt_stops_the_probes(run: Any) -> None:
    began = time.monotonic()

    class Stop(list[Any]):
        def append(self, event: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(http("broken", ", eventually: 5m, every: 50ms"), events=Stop())
    assert time.monotonic() - began < 15


REGISTERED = """
- name: p
  kind: registered
  on: core
  url: "{{ base }}/workers/%s"
  kind_field: type
  kinds: {a: 1, b: %d}
  only: "status == 'up'"
  fresh: {field: seen, within: 10s}
  reachable: {endpoint_field: endpoint, path: /health}
"""


@pytest.mark.parametrize(
    "which, of_b, verdict, said",
    [
        ("good", 1, "passed", "1 a, 1 b, each reachable where it registered"),
        ("good", 2, "failed", "1 b registered, expected at least 2"),
        ("twice", 1, "failed", "/worker1 is registered twice"),
        ("dead", 1, "failed", "a at http://127.0.0.1:1 is not reachable: connection refused"),
        ("guarded", 1, "failed", "127.0.0.1:1 is an address of the host's own, where the application may not send"),
    ],
)
def test_registered(run: Any, which: str, of_b: int, verdict: str, said: str) -> None:
    listed = "" if which == "guarded" else ', origins: "http://127.0.0.1:1"'
    (row,) = run((REGISTERED % (which, of_b)).replace("path: /health", f"path: /health{listed}"))
    assert row.verdict == verdict, row.reason
    assert said in row.reason


def lifecycle(kind: str, more: str = "", strategy: str = "v3_minimal") -> str:
    return f"""
- name: {kind}
  kind: lifecycle
  on: core
  vars: {{strategy: {strategy}}}
  timeout: 2s
  precondition:
    url: "{{{{ base }}}}/strategies"
    expect: {{jmespath: "contains(strategies[].name, '{{{{ strategy }}}}')"}}
    valid: "strategies[].name"
    reason: "strategy '{{{{ strategy }}}}' does not exist"
  start: {{url: "{{{{ base }}}}/start/{kind}", json: {{s: "{{{{ strategy }}}}"}}, save: {{op: id}}}}
  status:
    url: "{{{{ base }}}}/operations/{{{{ op }}}}"
    until: "data.status == '{"pending" if "mode" in more else "completed"}'"
    fail: "data.status == 'failed'"
    every: 30ms
    timeout: 3s
  cancel: {{url: "{{{{ base }}}}/operations/{{{{ op }}}}"}}
{more}"""


CONFIRM_CANCELLED = """  mode: cancel
  confirm: {url: "{{ base }}/operations/{{ op }}", expect: {jmespath: "data.status == 'cancelled'"}}
"""


@pytest.mark.parametrize(
    "kind, more, verdict, said",
    [
        ("good", "", "passed", "completed in"),
        ("flaky", "", "passed", "completed in"),
        ("pending", CONFIRM_CANCELLED, "passed", "cancelled in"),
        ("stubborn", CONFIRM_CANCELLED, "failed", "cancel was refused: status 409"),
        ("bad", "", "failed", "the operation ended badly"),
        ("pending", "", "failed", "did not end within"),
        ("stubborn", "", "failed", "could not be cancelled: status 409"),
        ("gone", "", "failed", "status: status 404"),
        ("refused", "", "failed", 'start: status 400, expected 2xx: \'{"detail": "no"}\''),
    ],
)
def test_lifecycles(run: Any, kind: str, more: str, verdict: str, said: str) -> None:
    (row,) = run(lifecycle(kind, more))
    assert row.verdict == verdict, row.reason
    assert said in row.reason


def test_a_lifecycle_that_never_ends_is_cancelled(run: Any, app: App) -> None:
    (row,) = run(lifecycle("pending"))
    assert row.reason.endswith("what it started was cancelled") and "'pending'" not in row.reason.split(";")[-1]
    assert app.operations[row.saved["op"]]["status"] == "cancelled"


def test_also_when_the_deadline_comes_first(run: Any, app: App) -> None:
    (row,) = run(lifecycle("pending").replace("timeout: 3s", "timeout: 1m"), deadline=1.5)
    assert row.verdict == "failed" and app.operations[row.saved["op"]]["status"] == "cancelled"


def test_the_start_is_sent_once(run: Any, app: App) -> None:
    app.calls.clear()
    run(lifecycle("refused"))
    assert app.calls.count("POST /start/refused") == 1


def test_wrong_test_data_is_inconclusive_and_starts_nothing(run: Any, app: App) -> None:
    app.calls.clear()
    (row,) = run(lifecycle("good", strategy="neuro_mean_reversion"))
    assert (row.verdict, row.blame) == ("inconclusive", "probe")
    assert row.reason == (
        "the probe's data is wrong: strategy 'neuro_mean_reversion' does not exist; valid: v3_minimal, v3_single"
    )
    assert app.calls == ["GET /strategies"]


def test_concurrent_lifecycles_keep_their_ids_apart(run: Any) -> None:
    rows = run("".join(lifecycle("good").replace("name: good", f"name: g{n}") for n in range(5)))
    assert {row.verdict for row in rows} == {"passed"}
    assert len({row.saved["op"] for row in rows}) == 5
    for row in rows:
        asked = [e["url"] for e in row.as_dict()["exchanges"] if e["what"] == "status"]
        assert asked and all(url.endswith("/" + row.saved["op"]) for url in asked)
