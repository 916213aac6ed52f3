"""Expectations, preconditions, rows and templates: the pure half of the probe room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from canaryctl.config.probes import HttpExpect, Precondition, load_probes
from canaryctl.config.probes.exec import Exec
from canaryctl.config.probes.http import Http
from canaryctl.config.probes.registered import Fresh, Registered
from canaryctl.errors import ConfigError
from canaryctl.probe.check import check_probes
from canaryctl.probe.context import ProbeContext
from canaryctl.probe.expect import Answer, Shapeless, http_faults, is_true, saved_from
from canaryctl.probe.precondition import judge_precondition
from canaryctl.probe.registered import count_faults, fresh_faults
from canaryctl.probe.results import HostResult, failed, inconclusive, over_hosts, passed
from canaryctl.probe.service import find_containers, in_container
from canaryctl.probe.templates import rendered

JSON = {"content-type": "application/json"}


def answer(data: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(data).encode(), JSON)


HTML = Answer(200, b"<!doctype html>\n<html>", {"content-type": "text/html; charset=utf-8"})


@pytest.mark.parametrize(
    "expect, got, said",
    [
        ({"status": 200, "jmespath": "status == 'healthy'"}, answer({"status": "healthy"}), ""),
        ({}, answer({}, 204), ""),
        ({}, answer({"detail": "no"}, 500), 'status 500, expected 2xx: \'{"detail": "no"}\''),
        ({"status": [200, 201]}, answer({}, 404), "status 404, expected 200 or 201"),
        ({"status": 200}, Answer(302, b"", {"location": "/login"}), "status 302, expected 200, redirects to /login"),
        ({"jmespath": ["a", "b"]}, HTML, "answer is not JSON: text/html, '<!doctype html> <html>'"),
        ({"jmespath": "length(x) > `0`"}, answer({}), "does not fit the answer"),
        ({"jmespath": "ok"}, answer({"ok": False}), "not true: ok (gives 'false'"),
        ({"jmespath": "n"}, answer({"n": 0}), ""),
        ({"body": "doctype"}, HTML, ""),
        ({"body": "DOCTYPE"}, HTML, "body does not hold 'DOCTYPE'"),
        ({"body": {"regex": "^<html>$"}}, HTML, ""),
        ({"headers": {"Content-Type": "html", "X-A": ""}}, HTML, "header X-A is missing"),
        ({"jmespath": "a"}, Answer(200, b"{", {}, truncated=True), "larger than 1024 KiB"),
        ({"jmespath": "a"}, Answer(200, b"[" * 100_000, JSON), "answer is not JSON"),
    ],
)
def test_expectations(expect: dict[str, Any], got: Answer, said: str) -> None:
    faults = http_faults(HttpExpect(**expect), got)
    assert len(faults) == (1 if said else 0)
    assert said in "".join(faults)


def test_truth_is_that_of_jmespath() -> None:
    assert [is_true(v) for v in (0, 1, "x", [0], True)] == [True] * 5
    assert [is_true(v) for v in (None, False, "", [], {})] == [False] * 5


def test_a_value_to_save_must_be_there() -> None:
    assert saved_from({"id": "a.b"}, answer({"a": {"b": 3}})) == {"id": 3}
    with pytest.raises(Shapeless, match="to save as 'id'"):
        saved_from({"id": "a.b"}, answer({}))


STRATEGIES = answer({"strategies": [{"name": "v3_minimal"}, {"name": "v3_single"}]})


@pytest.mark.parametrize(
    "strategy, got, verdict, blame, said",
    [
        ("nope", STRATEGIES, "inconclusive", "probe", "'nope' does not exist; valid: v3_minimal, v3_single"),
        ("nope", answer({}, 404), "inconclusive", "probe", "status 404"),
        ("v3_minimal", answer({}, 503), "failed", "system", "could not be evaluated: status 503"),
        ("v3_minimal", answer({}, 429), "failed", "system", "could not be evaluated: status 429"),
        ("v3_minimal", HTML, "failed", "system", "could not be evaluated: answer is not JSON"),
        ("v3_minimal", answer({}), "failed", "system", "could not be evaluated"),
    ],
)
def test_preconditions(strategy: str, got: Answer, verdict: str, blame: str, said: str) -> None:
    expect = HttpExpect(jmespath=(f"contains(strategies[].name, '{strategy}')",))
    asked = Precondition(
        url="", expect=expect, valid="strategies[].name", reason=f"strategy '{strategy}' does not exist"
    )
    outcome = judge_precondition(asked, got)
    assert outcome is not None
    assert (outcome.verdict, outcome.blame) == (verdict, blame)
    assert said in outcome.reason


def test_a_precondition_that_holds_says_nothing() -> None:
    expect = HttpExpect(jmespath=("contains(strategies[].name, 'v3_minimal')",))
    assert judge_precondition(Precondition(url="", expect=expect), STRATEGIES) is None


def test_a_row_has_the_worst_verdict_and_says_on_which_host() -> None:
    row = over_hosts("p", "http", {"a": HostResult(passed()), "b": HostResult(failed("late"), 3, lost=True)}, 1.0)
    assert (row.verdict, row.reason, row.blame, row.attempts, row.unreachable) == (
        "failed",
        "b: late",
        "system",
        3,
        ("b",),
    )
    assert json.loads(json.dumps(row.as_dict()))["hosts"]["b"]["reachable"] is False


def registered(**more: Any) -> Registered:
    return Registered(kind="registered", name="r", on="core", url="", kind_field="t", kinds={"a": 1, "b": 2}, **more)


def test_too_few_of_a_kind() -> None:
    entries = [{"t": "a"}, {"t": "b"}]
    assert count_faults(registered(), entries) == ["1 b registered, expected at least 2"]
    assert count_faults(registered(), []) == [
        "no a registered, expected at least 1",
        "no b registered, expected at least 2",
    ]


@pytest.mark.parametrize(
    "seen, stale",
    [
        ("2026-01-01T00:00:00+00:00", False),
        ("2025-12-31T23:59:30Z", True),
        (1767225600, False),
        ("soon", True),
        (None, True),
    ],
)
def test_freshness_by_the_clock_of_who_answers(seen: object, stale: bool) -> None:
    found = fresh_faults(Fresh(field="seen", within="15s"), [{"seen": seen}], now=1767225605.0)  # type: ignore[arg-type]
    assert bool(found) == stale


def test_the_exec_script_quotes_what_the_user_wrote() -> None:
    text = find_containers("p-e", "db", sudo=True) + in_container(["echo", "it's", "$HOME"], sudo=True, timeout=2)
    assert "sudo -n docker ps" in text and "sudo -n timeout" in text and """echo 'it'"'"'s' '$HOME'""" in text


VARIABLES = {
    "environment": "canary",
    "groups": {"core": ["h1"], "empty": []},
    "service_hosts": {"db": ["h1"]},
    "hosts": {"h1": {"address": "10.0.0.1", "groups": ["core"], "services": ["db"]}},
}


def checked(tmp_path: Path, text: str) -> None:
    path = tmp_path / "probes.yml"
    path.write_text(text)
    check_probes(load_probes(path), ProbeContext("canary", VARIABLES, None))  # type: ignore[arg-type]


def test_templates_see_the_host_the_probe_runs_on_and_what_needed_probes_saved(tmp_path: Path) -> None:
    checked(
        tmp_path,
        """
- {name: a, kind: http, on: core, url: "http://{{ address }}/{{ hosts[host].services[0] }}", save: {token: t}}
- {name: b, kind: http, on: core, needs: a, vars: {v: 1}, url: "http://x/{{ token }}/{{ v }}"}
""",
    )


@pytest.mark.parametrize(
    "line, words",
    [
        ('kind: http\n  on: core\n  url: "http://{{ adress }}"', ["'a'", "'adress'", "not defined"]),
        ('kind: http\n  on: core\n  url: "http://{{ hosts.h9.address }}"', ["'a' on h1", "cannot be rendered"]),
        ('kind: http\n  on: core\n  url: "http://{{ address"', ["bad template"]),
        ('kind: http\n  on: cor\n  url: "http://x"', ["'cor'", "neither a group nor a service"]),
        ('kind: exec\n  on: core\n  command: "true"', ["'core'", "no service"]),
        ('kind: http\n  on: core\n  url: "http://x/{{ id }}"\n  save: {id: id}', ["'id'", "not defined"]),
        ('kind: http\n  on: core\n  url: "http://x"\n  save: {host: id}', ["'host'", "second meaning"]),
        ("kind: http\n  on: core\n  url: \"http://{{ ''.__class__.__mro__ }}\"", ["cannot be rendered"]),
    ],
)
def test_wrong_templates_are_found_before_anything_runs(tmp_path: Path, line: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(tmp_path, f"- name: a\n  {line}\n")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "probes.yml:" in caught.value.where


def test_a_lifecycle_may_use_its_own_ids_only_after_the_start(tmp_path: Path) -> None:
    good = 'start: {url: "http://x", save: {id: id}}, status: {url: "http://x/{{ id }}", until: done}'
    checked(tmp_path, f"- {{name: a, kind: lifecycle, on: core, {good}}}")
    bad = 'start: {url: "http://x/{{ id }}", save: {id: id}}, status: {url: "http://x", until: done}'
    with pytest.raises(ConfigError, match="'id', which is not defined"):
        checked(tmp_path, f"- {{name: a, kind: lifecycle, on: core, {bad}}}")


def test_rendering_reaches_into_json_bodies_and_leaves_names_alone() -> None:
    probe = Http(kind="http", name="{{ n }}", on="core", url="http://{{ n }}", json={"a": ["{{ n }}", 3]})
    done = rendered(probe, {"n": "x"})
    assert (done.name, done.url, done.json_body) == ("{{ n }}", "http://x", {"a": ["x", 3]})
    assert rendered(Exec(kind="exec", name="e", on="s", command=("a", "{{ n }}")), {"n": 1}).command == ("a", "1")


def test_what_cannot_judge_blames_the_probe() -> None:
    assert inconclusive("x").blame == "probe" and failed("x").blame == "system" and passed("x").blame is None


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*$", r".*.*.*.*="])
def test_a_pattern_that_takes_for_ever_is_given_up(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("canaryctl.config.patterns.LONGEST", 0.5)
    (fault,) = http_faults(HttpExpect(body={"regex": pattern}), Answer(200, b"a" * 100_000 + b"b"))
    assert "body cannot be judged: /" in fault and "did not come to an end" in fault


@pytest.mark.parametrize(
    "pattern, found", [("b$", True), ("^b", True), ("a+.b", False), ("a+\\nb", True), ("c*x", False), ("(?i)B", True)]
)
def test_a_pattern_is_looked_for_in_lines(pattern: str, found: bool) -> None:
    faults = http_faults(HttpExpect(body={"regex": pattern}), Answer(200, b"aa\nb"))
    assert bool(faults) != found
