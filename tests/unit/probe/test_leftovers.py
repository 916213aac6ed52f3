"""Lifecycles carry a tag, and the next run cancels what an earlier one could not end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultyapp import App, Run, prober, serving

from canaryctl.errors import ConfigError


@pytest.fixture
def app() -> Iterator[App]:
    with serving() as server:
        yield server


@pytest.fixture
def run(app: App, tmp_path: Path) -> Run:
    return prober(app, tmp_path)


def lifecycle(name: str, kind: str = "good", on: str = "core", listed: str = "unfinished") -> str:
    return f"""
- name: {name}
  kind: lifecycle
  on: {on}
  timeout: 1500ms
  start: {{url: "{{{{ base }}}}/start/{kind}", json: {{tag: "{{{{ tag }}}}"}}, save: {{op: id}}}}
  status:
    url: "{{{{ base }}}}/operations/{{{{ op }}}}"
    until: "data.status == 'completed'"
    fail: "data.status == 'cancelled'"
    every: 30ms
    timeout: 5s
  cancel: {{url: "{{{{ base }}}}/operations/{{{{ op }}}}"}}
  reap: {{url: "{{{{ base }}}}/{listed}", at: data, save: {{op: id}}}}
"""


def test_an_unanswered_start_is_sent_once_and_cancelled_by_the_next_run(run: Run, app: App) -> None:
    (row,) = run(lifecycle("Training", "silent"))
    assert row.verdict == "failed" and "it was not repeated; the next run cancels what it may have begun" in row.reason
    assert app.calls.count("POST /start/silent") == 1
    assert app.operations["silent1"]["status"] == "pending"
    (row,) = run(lifecycle("Training"))
    assert row.verdict == "passed"
    assert row.reason.endswith("; left over from an earlier run: silent1 was cancelled")
    assert app.operations["silent1"]["status"] == "cancelled"
    assert [e["method"] for e in row.as_dict()["exchanges"] if e["what"] == "reap"] == ["GET", "DELETE"]
    (row,) = run(lifecycle("Training"))
    assert "left over" not in row.reason


def test_other_probes_and_other_hosts_operations_are_left_alone(run: Run, app: App) -> None:
    run(lifecycle("Training", "silent"))
    app.operations["somebody"] = {"asked": 0, "status": "pending", "tag": None}
    (row,) = run(lifecycle("Backtest"))
    assert row.verdict == "passed" and "left over" not in row.reason
    assert {app.operations[name]["status"] for name in ("silent1", "somebody")} == {"pending"}


def test_lifecycles_at_the_same_time_never_take_each_other_for_leftovers(run: Run, app: App) -> None:
    names = [f"Training {number}" for number in range(5)]
    rows = run("".join(lifecycle(name, on="both") for name in names))
    assert {row.verdict for row in rows} == {"passed"}, [row.reason for row in rows]
    tags = [operation["tag"] for operation in app.operations.values()]
    assert len(set(tags)) == len(tags) == 10
    assert len({tag.rsplit("-", 2)[0] for tag in tags}) == 10


def test_what_belongs_to_a_run_under_way_is_no_leftover(app: App, tmp_path: Path) -> None:
    prober(app, tmp_path, run="watch-1")(lifecycle("Training", "silent"))
    (row,) = prober(app, tmp_path, run="deploy-2", others=lambda: ["watch-1"])(lifecycle("Training"))
    assert row.verdict == "passed" and app.operations["silent1"]["status"] == "pending"
    (row,) = prober(app, tmp_path, run="deploy-3")(lifecycle("Training"))
    assert "silent1 was cancelled" in row.reason


def test_a_leftover_that_cannot_be_cancelled_is_said_and_changes_no_verdict(run: Run, app: App) -> None:
    run(lifecycle("Training", "silent"))
    app.operations["stubborn1"] = app.operations.pop("silent1")
    (row,) = run(lifecycle("Training"))
    assert row.verdict == "passed" and "stubborn1 could not be cancelled: status 409" in row.reason


def test_nor_does_a_list_that_is_not_there(run: Run) -> None:
    (row,) = run(lifecycle("Training", listed="unfinished/not"))
    assert row.verdict == "passed" and "what earlier runs left could not be looked for: status 404" in row.reason


def test_a_start_that_nobody_answers_ends_by_its_deadline(run: Run) -> None:
    began = time.monotonic()
    run(lifecycle("Training", "silent"))
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "old, new, said",
    [
        (', json: {tag: "{{ tag }}"}', "", "'reap' needs a start that carries '{{ tag }}'"),
        ('  cancel: {url: "{{ base }}/operations/{{ op }}"}\n', "", "'reap' needs a 'cancel' request"),
        ("at: data, save: {op: id}", "at: data, save: {other: id}", "'cancel' uses 'op', which 'reap' does not save"),
        ("  timeout: 1500ms", "  vars: {tag: mine}", "gives 'tag' a second meaning"),
    ],
)
def test_a_reap_that_could_not_work_is_refused_with_its_line(run: Run, old: str, new: str, said: str) -> None:
    text = lifecycle("Training")
    assert old in text
    with pytest.raises(ConfigError) as refused:
        run(text.replace(old, new))
    assert said in str(refused.value) and "probes.yml:" in refused.value.where
