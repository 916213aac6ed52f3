"""Operations begun before a deploy are followed to their end after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faultyapp import App, Pool, prober, serving

from canaryctl.config.probes import load_probes
from canaryctl.config.probes.lifecycle import Lifecycle
from canaryctl.errors import ConfigError
from canaryctl.probe.context import Begun, ProbeContext
from canaryctl.probe.lifecycle import begin, cancel, goes_on
from canaryctl.probe.results import ProbeResult
from canaryctl.probe.scope import Scope

CROSSING = """
- name: Survives
  kind: lifecycle
  on: core
  across: deploy
  timeout: 2s
  start: {url: "{{ base }}/start/KIND", save: {op: id}}
  status:
    url: "{{ base }}/operations/{{ op }}"
    until: "data.status == 'completed'"
    fail: "data.status == 'failed'"
    every: 20ms
    timeout: 2s
  cancel: {url: "{{ base }}/operations/{{ op }}"}
"""


@pytest.fixture
def app() -> Iterator[App]:
    with serving() as server:
        yield server


def begun(app: App, folder: Path, kind: str) -> tuple[Lifecycle, Scope, Any]:
    """The probe on a host, and what beginning its operation came to."""
    path = folder / "begun.yml"
    path.write_text(CROSSING.replace("KIND", kind))
    (probe,) = load_probes(path)
    assert isinstance(probe, Lifecycle)
    names = {"base": f"http://127.0.0.1:{app.server_port}"}
    scope = Scope(ProbeContext("test", names, Pool()), "h1", names, time.monotonic() + 5, threading.Event())
    return probe, scope, begin(probe, scope)


def followed(app: App, folder: Path, kind: str, begun: Begun | None) -> ProbeResult:
    """The row of the probe after the deploy."""
    (row,) = prober(app, folder, in_flight={("Survives", "h1"): begun})(CROSSING.replace("KIND", kind))
    return row


def test_it_is_followed_and_not_started_again(app: App, tmp_path: Path) -> None:
    _, scope, outcome = begun(app, tmp_path, "good")
    assert outcome is None
    was = Begun(dict(scope.saved), tuple(scope.exchanges), time.monotonic() - 41, restarts=5)
    row = followed(app, tmp_path, "good", was)
    assert row.verdict == "passed"
    assert row.reason == "survived the deploy: completed 41 s after it was begun, 5 containers started meanwhile"
    assert app.calls.count("POST /start/good") == 1
    first, *others = (exchange["what"] for exchange in row.as_dict()["exchanges"])
    assert first == "start" and set(others) == {"status"}


@pytest.mark.parametrize(
    ("kind", "verdict", "said"),
    [
        ("bad", "failed", "begun before the deploy: the operation ended badly"),
        ("gone", "failed", "begun before the deploy: status: status 404"),
        ("pending", "failed", "begun before the deploy: the operation did not end"),
    ],
)
def test_one_that_the_new_release_lost_fails(app: App, tmp_path: Path, kind: str, verdict: str, said: str) -> None:
    _, scope, _ = begun(app, tmp_path, kind)
    row = followed(app, tmp_path, kind, Begun(dict(scope.saved), (), time.monotonic()))
    assert row.verdict == verdict and said in row.reason, row.reason


def test_one_that_ended_too_early_proves_nothing(app: App, tmp_path: Path) -> None:
    _, scope, _ = begun(app, tmp_path, "good")
    row = followed(app, tmp_path, "good", Begun(dict(scope.saved), (), time.monotonic(), outlasted=False))
    assert row.verdict == "inconclusive" and "give it more to do" in row.reason


def test_it_is_left_out_while_the_deploy_goes_on(app: App, tmp_path: Path) -> None:
    row = followed(app, tmp_path, "good", None)
    assert row.verdict == "skipped" and app.calls == []


def test_without_a_begun_operation_it_is_an_ordinary_lifecycle(app: App, tmp_path: Path) -> None:
    (row,) = prober(app, tmp_path)(CROSSING.replace("KIND", "good"))
    assert row.verdict == "passed" and row.reason.startswith("completed in")


def test_whether_it_still_goes_on_is_asked_of_its_status(app: App, tmp_path: Path) -> None:
    probe, scope, _ = begun(app, tmp_path, "good")
    assert goes_on(probe, scope)
    app.operations["good1"]["status"] = "completed"
    assert not goes_on(probe, scope)
    app.operations["good1"]["status"] = "failed"
    assert not goes_on(probe, scope)


def test_one_that_none_can_tell_of_is_not_taken_to_go_on(app: App, tmp_path: Path) -> None:
    probe, scope, _ = begun(app, tmp_path, "good")
    app.operations["gone1"] = app.operations.pop("good1")
    scope.saved["op"] = "gone1"
    assert not goes_on(probe, scope)


def test_a_deploy_that_failed_cancels_it(app: App, tmp_path: Path) -> None:
    probe, scope, _ = begun(app, tmp_path, "pending")
    assert cancel(probe, scope) == "what it started was cancelled"
    assert app.operations["pending1"]["status"] == "cancelled"


def test_a_start_that_is_refused_begins_nothing(app: App, tmp_path: Path) -> None:
    _, _, outcome = begun(app, tmp_path, "refused")
    assert outcome is not None and outcome.verdict == "failed" and "start: status" in outcome.reason


def test_what_is_cancelled_cannot_cross_a_deploy(tmp_path: Path) -> None:
    path = tmp_path / "probes.yml"
    path.write_text(CROSSING.replace("across: deploy", "across: deploy\n  mode: cancel"))
    with pytest.raises(ConfigError, match="'across' is about an operation that completes"):
        load_probes(path)
