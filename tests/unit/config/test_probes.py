"""probes.yml: what is accepted, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from canaryctl.config.durations import parse_duration, show_duration
from canaryctl.config.probes import KINDS, Probe, load_probes, needed_by
from canaryctl.config.probes.http import Http
from canaryctl.config.probes.lifecycle import Lifecycle
from canaryctl.config.probes.registered import Registered
from canaryctl.errors import ConfigError
from canaryctl.probe.kinds import RUN

EXAMPLES = Path(__file__).parents[3] / "examples" / "ktrdr"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "probes.yml"
    path.write_text(text)
    return path


def refused(tmp_path: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_probes(write(tmp_path, text))
    return caught.value


@pytest.mark.parametrize("text, seconds", [("500ms", 0.5), ("3s", 3), ("2m", 120), ("1h", 3600), ("1m30s", 90)])
def test_durations_have_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", [3, "3", "s", "3 weeks", "", None, True, -1.5])
def test_a_duration_without_a_unit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="500ms, 3s or 2m"):
        parse_duration(text)


def test_durations_are_shown_short() -> None:
    assert [show_duration(s) for s in (0.25, 3.0, 3.25, 90, 120)] == ["250 ms", "3 s", "3.2 s", "1 m 30 s", "2 m"]


def test_the_example_files_load_and_differ_only_in_the_training_strategy() -> None:
    right, wrong = load_probes(EXAMPLES / "probes.yml"), load_probes(EXAMPLES / "probes-handoff.yml")
    names = ["Backend Health", "Workers Registered", "Training Lifecycle", "Backtest Lifecycle"]
    assert [p.name for p in wrong] == names and [p.name for p in right] == [*names, "GPU Computes"]
    right_data, wrong_data = [p.model_dump() for p in right], [p.model_dump() for p in wrong]
    assert (right_data[2].pop("vars"), wrong_data[2].pop("vars")) == (
        {"strategy": "v3_minimal"},
        {"strategy": "neuro_mean_reversion"},
    )
    assert right_data[:4] == wrong_data


def test_the_bare_key_on_is_a_name_not_a_boolean(tmp_path: Path) -> None:
    (probe,) = load_probes(write(tmp_path, "- {name: a, kind: tcp, on: core, port: 80}"))
    assert probe.on == "core"
    assert probe.source("on").endswith("probes.yml:1")


def test_every_kind_with_its_defaults(tmp_path: Path) -> None:
    text = """
- {name: h, kind: http, on: core, url: "http://x", expect: {status: 200}}
- {name: e, kind: exec, on: db, command: [pg_isready, -q]}
- {name: r, kind: registered, on: core, url: "http://x", kind_field: type, kinds: {a: 2}}
- {name: l, kind: lifecycle, on: core, needs: h, start: {url: "http://x"}, status: {url: "http://x", until: done}}
"""
    http, _, registered, lifecycle = load_probes(write(tmp_path, text))
    assert isinstance(http, Http) and http.expect.status == (200,) and http.timeout == 10 and http.eventually == 0
    assert isinstance(registered, Registered) and registered.at == "@"
    assert isinstance(lifecycle, Lifecycle) and lifecycle.start.method == "POST" and lifecycle.needs == ("h",)
    assert lifecycle.status.every == 0.25


@pytest.mark.parametrize(
    "line, words",
    [
        ("kind: htp", ["'htp'", "did you mean 'http'"]),
        ("kind: http", ["url", "required"]),
        ("kind: http\n  url: http://x\n  expct: {}", ["unknown key", "did you mean 'expect'"]),
        ("kind: http\n  url: http://x\n  expect: {status: 20}", ["status"]),
        ("kind: http\n  url: http://x\n  expect: {jmespath: 'a =='}", ["bad JMESPath", "a =="]),
        ("kind: http\n  url: http://x\n  expect: {body: {regex: '('}}", ["bad regular expression"]),
        ("kind: http\n  url: http://x\n  timeout: 3", ["timeout", "3s"]),
        ("kind: http\n  url: http://x\n  json: {}\n  body: x", ["'json' or 'body'"]),
        ("kind: http\n  url: http://x\n  needs: [b]", ["'b'", "no probe"]),
        ("kind: http\n  url: http://x\n  needs: [a]", ["circle"]),
        ("kind: lifecycle\n  start: {url: x}\n  status: {url: x, until: y}\n  mode: cancel", ["mode 'cancel' needs"]),
        ("kind: lifecycle\n  start: {url: x}\n  status: {url: x, until: y}\n  eventually: 3s", ["eventually"]),
        ("kind: registered\n  url: http://x\n  kind_field: t\n  kinds: {a: 0}", ["kinds.a"]),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, line: str, words: list[str]) -> None:
    error = refused(tmp_path, f"- name: a\n  on: core\n  {line}\n")
    said = f"{error} {error.hint}"
    assert all(word in said for word in words), said
    assert "probes.yml:" in error.where


def test_a_circle_names_its_members_only(tmp_path: Path) -> None:
    text = "".join(f"- {{name: {n}, kind: tcp, on: c, port: 1, needs: [{m}]}}\n" for n, m in ("ab", "ba", "ca"))
    error = refused(tmp_path, text)
    assert "'a' and 'b'" in str(error) and "'c'" not in str(error)


def test_two_probes_of_one_name_are_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, "- {name: a, kind: tcp, on: c, port: 1}\n- {name: a, kind: tcp, on: c, port: 2}\n")
    assert "two probes are named 'a'" in str(error) and error.where.endswith(":2")


@pytest.mark.parametrize("text", ["", "a: 1", "[]", "- 3", "- {name: a, on: c}"])
def test_what_is_no_list_of_probes_is_refused(tmp_path: Path, text: str) -> None:
    assert "probe" in str(refused(tmp_path, text))


def test_needs_are_followed_to_the_end(tmp_path: Path) -> None:
    text = "".join(f"- {{name: {n}, kind: tcp, on: c, port: 1, needs: {m}}}\n" for n, m in (("a", "[]"), ("b", "[a]")))
    probes = load_probes(write(tmp_path, text + "- {name: c, kind: tcp, on: c, port: 1, needs: [b]}\n"))
    assert needed_by(probes[2], probes) == {"a", "b"}


def test_a_kind_is_a_model_and_a_module_of_its_name_that_runs_it() -> None:
    assert (
        set(KINDS) == set(RUN) == {"http", "tcp", "exec", "container", "logs", "registered", "lifecycle", "sql", "gpu"}
    )
    for model in get_args(Probe):
        assert model.__module__ == f"canaryctl.config.probes.{model.__name__.lower()}"
