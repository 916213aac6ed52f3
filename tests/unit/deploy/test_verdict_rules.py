"""What rows say together under an environment's rules, and which of them count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from canaryctl.config.policy import Policy
from canaryctl.config.probes import Probe, load_probes
from canaryctl.errors import ConfigError
from canaryctl.probe.context import ProbeContext
from canaryctl.probe.results import Exchange, HostResult, Outcome, ProbeResult, failed, inconclusive, over_hosts, passed
from canaryctl.probe.soak import Soak, sampled
from canaryctl.probe.verdict import check_rules, gating, judge

PROBES = """\
- {name: Health, kind: tcp, on: core, port: 1, tags: [base]}
- {name: Workers, kind: tcp, on: core, port: 2, needs: Health, eventually: 30s}
- name: Training
  kind: lifecycle
  on: core
  needs: Workers
  start: {url: "http://x", save: {task: id}}
  status: {url: "http://x", until: done}
- {name: Status, kind: http, on: core, needs: [Training, Health], url: "http://x/{{ task }}"}
- {name: Extra, kind: tcp, on: core, port: 3, needs: Workers, tags: [extra]}
"""


@pytest.fixture
def probes(tmp_path: Path) -> tuple[Probe, ...]:
    (tmp_path / "probes.yml").write_text(PROBES)
    return load_probes(tmp_path / "probes.yml")


def rows(words: str) -> list[ProbeResult]:
    """`failed -failed passed`: a dash is a row that does not gate."""
    return [
        ProbeResult(f"p{number}", "http", word.lstrip("-"), "", gates=word[0] != "-")  # type: ignore[arg-type]
        for number, word in enumerate(words.split(), 1)
    ]


@pytest.mark.parametrize(
    "probes, metrics, inconclusive, verdict, reasons",
    [
        ("passed passed", "", "block", "passed", ()),
        ("passed skipped", "", "block", "passed", ()),
        ("passed inconclusive", "", "block", "inconclusive", ("p2 (inconclusive)",)),
        ("passed inconclusive", "", "pass", "passed", ()),
        ("inconclusive failed skipped", "", "block", "failed", ("p2 (failed)", "p1 (inconclusive)")),
        ("inconclusive failed", "", "pass", "failed", ("p2 (failed)",)),
        ("skipped", "", "block", "inconclusive", ("no probe that gates passed",)),
        ("", "", "block", "inconclusive", ("no probe that gates passed",)),
        ("inconclusive", "", "pass", "inconclusive", ("no probe that gates passed",)),
        ("passed -failed -inconclusive", "", "block", "passed", ()),
        ("skipped -passed", "", "block", "inconclusive", ("no probe that gates passed",)),
        ("passed", "passed", "block", "passed", ()),
        ("passed", "failed", "block", "failed", ("p1 (failed)",)),
        ("passed", "inconclusive", "block", "inconclusive", ("p1 (inconclusive)",)),
        ("passed", "inconclusive", "pass", "passed", ()),
        ("passed", "-failed", "block", "passed", ()),
        ("skipped", "passed", "block", "inconclusive", ("no probe that gates passed",)),
    ],
)
def test_the_verdict_over_all(
    probes: str, metrics: str, inconclusive: str, verdict: str, reasons: tuple[str, ...]
) -> None:
    judgement = judge(rows(probes), rows(metrics), Policy(inconclusive=inconclusive))
    assert (judgement.verdict, judgement.reasons) == (verdict, reasons)


@pytest.mark.parametrize(
    "wanted, names",
    [
        ((), "Health Workers Training Status Extra"),
        (("Health",), "Health"),
        (("base",), "Health"),
        (("extra", "Health"), "Health Workers Extra"),
        (("Training",), "Health Workers Training"),
    ],
)
def test_what_a_gating_probe_needs_gates_too(probes: tuple[Probe, ...], wanted: tuple[str, ...], names: str) -> None:
    assert gating(probes, wanted) == set(names.split())


@pytest.mark.parametrize(
    "gate, hint",
    [("Helth", "did you mean 'Health'?"), ("extras", "did you mean 'extra'?"), ("zzz", "there are: Health")],
)
def test_a_gate_that_is_no_probe_names_the_nearest(probes: tuple[Probe, ...], gate: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"canary_gates names '{gate}'") as caught:
        check_rules(probes, Policy(gates=(gate,)), "inventories/prod")
    assert hint in caught.value.hint and caught.value.where == "inventories/prod"


def with_soak(probes: tuple[Probe, ...], **soak: bool) -> tuple[Probe, ...]:
    return tuple(p.model_copy(update={"soak": soak[p.name]}) if p.name in soak else p for p in probes)


@pytest.mark.parametrize(
    "soak, names",
    [
        ({}, "Health Workers Extra"),
        ({"Extra": False}, "Health Workers"),
        ({"Workers": False}, "Health Extra"),
        ({"Training": True}, "Health Workers Training Status Extra"),
    ],
)
def test_a_soak_repeats_all_but_lifecycles_and_what_takes_their_values(
    probes: tuple[Probe, ...], soak: dict[str, bool], names: str
) -> None:
    assert [probe.name for probe in sampled(with_soak(probes, **soak))] == names.split()


def test_a_sample_is_tried_once_and_needs_only_what_is_repeated(probes: tuple[Probe, ...]) -> None:
    samples: dict[str, Any] = {probe.name: probe for probe in sampled(with_soak(probes, Health=False))}
    assert samples["Workers"].needs == () and samples["Workers"].eventually == 0
    assert samples["Extra"].needs == ("Workers",)


class Clock:
    """Stands in for the module `time`: sleeping is what passes time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("busy, rounds", [(0, [10, 20, 25]), (14, [10, 24, 38]), (16, [10, 26]), (60, [10, 70])])
def test_rounds_keep_their_pace_and_the_last_is_not_before_the_end(
    monkeypatch: pytest.MonkeyPatch, busy: float, rounds: list[float]
) -> None:
    """`busy`: seconds that what follows each round takes."""
    clock = Clock()
    monkeypatch.setattr("canaryctl.probe.soak.time", clock)
    soak = Soak((), ProbeContext("e", {}, None), 25, 10, 9, lambda _: False)  # type: ignore[arg-type]
    began: list[float] = []

    def follow(_: object) -> None:
        began.append(soak.soaked)
        clock.sleep(busy)

    soak.run(follow, lambda kind, **data: None)
    assert began == rounds and (soak.rounds, soak.soaked) == (len(rounds), rounds[-1])


def test_the_first_failure_of_a_soak_stands_in_the_row_and_ends_it_where_it_gates() -> None:
    exchange = Exchange("request", "GET", "http://x", 0.1, 5.0, 500, body="b" * 9000)
    bad = over_hosts("p", "http", {"h": HostResult(failed("status 500"), exchanges=(exchange,), latencies=(5.0,))}, 1)
    good = over_hosts("p", "http", {"h": HostResult(passed(), latencies=(3.0,))}, 1)
    soak = Soak((), ProbeContext("e", {}, None), 1, 1, 1, lambda result: result.name == "p")  # type: ignore[arg-type]
    soak.rounds, soak.soaked = 1, 30.0
    assert not soak.take([good, ProbeResult("q", "http", "skipped", "")])
    soak.rounds, soak.soaked = 2, 60.0
    assert soak.take([bad])
    (row,) = soak.applied([good])
    assert (row.verdict, row.reason) == ("failed", "after 1 m of soak, in round 2: status 500")
    assert row.soak is not None and (row.soak["samples"], row.soak["failed"], row.soak["max_ms"]) == (2, 1, 5.0)
    assert row.soak["first_failure"]["exchange"]["status"] == 500
    assert len(json.dumps(row.soak)) < 3000


def sample(name: str, outcome: Outcome) -> ProbeResult:
    return over_hosts(name, "http", {"h": HostResult(outcome)}, 1)


def test_a_failure_after_an_inconclusive_sample_fails_the_soak() -> None:
    """With `canary_inconclusive: pass` the first break is not the one that counts."""
    good = sample("p", passed())
    soak = Soak((), ProbeContext("e", {}, None), 1, 1, 1, lambda result: result.verdict == "failed")  # type: ignore[arg-type]
    assert not soak.take([sample("p", inconclusive("no answer"))])
    assert soak.take([sample("p", failed("status 500"))])
    (row,) = soak.applied([good])
    assert row.verdict == "failed" and "status 500" in row.reason
    assert judge([replace(row, gates=True)], (), Policy(inconclusive="pass")).verdict == "failed"
    assert not soak.take([sample("p", inconclusive("no answer"))]) and soak.applied([good])[0].verdict == "failed"


def test_a_host_that_a_later_sample_lost_is_known() -> None:
    soak = Soak((), ProbeContext("e", {}, None), 1, 1, 1, lambda _: False)  # type: ignore[arg-type]
    soak.take([sample("p", failed("status 500"))])
    lost = over_hosts("p", "http", {"h": HostResult(inconclusive("the connection was lost"), lost=True)}, 1)
    assert lost.unreachable == ("h",)
    soak.take([lost])
    assert soak.lost == [lost] and soak.broken["p"].verdict == "failed"


def test_a_sample_cannot_take_values_from_what_is_not_repeated(probes: tuple[Probe, ...]) -> None:
    with pytest.raises(ConfigError, match="'Status' is to be repeated in a soak, but takes values from 'Training'"):
        sampled(with_soak(probes, Status=True))
