"""What the fault matrix draws, and what it calls wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from faults.cells import CODES, FAILED_ONCE, STAGES, Cell, Seen, last_line, order, outage_limit, sample, wrong
from faults.table import matrix, one_line

from canaryctl.lab.faults import FAULTS

GOOD = Seen(
    Cell("dockerd-stopped", "start"),
    "box-1",
    reached=True,
    code=6,
    ended=9.0,
    said="error: start failed: Docker does not answer\nwhere: box-1\nhelp: start it",
    failed_stages=["start"],
    outage=30.0,
    wanted=("v1", "v2"),
    served="v1",
    again=0,
    page="v2",
)


def test_each_fault_of_the_lab_has_its_exit_codes() -> None:
    assert set(CODES) == set(FAULTS)


@pytest.mark.parametrize("seed", range(3))
def test_all_cells_are_drawn_and_any_beginning_is_even(seed: int) -> None:
    drawn = order(list(FAULTS), STAGES, seed)
    assert len(set(drawn)) == len(drawn) == len(FAULTS) * len(STAGES)
    assert {cell.fault for cell in drawn[: len(FAULTS)]} == set(FAULTS)
    stages = Counter(cell.stage for cell in drawn[: len(FAULTS)])
    assert max(stages.values()) - min(stages[stage] for stage in STAGES) <= 1


def test_a_seed_gives_the_same_cells_again_and_another_gives_others() -> None:
    assert order(list(FAULTS), STAGES, 1) == order(list(FAULTS), STAGES, 1) != order(list(FAULTS), STAGES, 2)


def test_a_sample_has_what_failed_once_and_others_beside() -> None:
    drawn = sample(list(FAULTS), 2, 20_000)
    assert [str(cell) for cell in drawn[:-2]] == list(FAILED_ONCE) and len(set(drawn)) == len(FAILED_ONCE) + 2
    assert len({sample(list(FAULTS), 2, seed)[-1] for seed in range(20)}) > 5, "not the same ones every day"


def test_cells_are_written_as_fault_and_stage() -> None:
    assert Cell.parse(" host-killed:start ") == Cell("host-killed", "start")
    for text in ("host-killed", "fire:start", "host-killed:lunch"):
        with pytest.raises(SystemExit, match="is no cell"):
            Cell.parse(text)


def test_a_fault_that_takes_the_service_away_may_take_longer() -> None:
    assert outage_limit(Cell("host-killed", "start")) > outage_limit(Cell("link-cut", "start"))


def test_a_failed_verdict_is_told_by_its_rows() -> None:
    judged = replace(GOOD, code=1, said="", failed_stages=[], failed_probes={"Front": ["box-1"]})
    assert wrong(judged) == []
    assert wrong(replace(judged, failed_probes={"Front": ["box-2"]})) == ["no failed probe names the host"]
    assert "no help" in wrong(replace(judged, failed_probes={}))


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert wrong(GOOD) == []
    assert wrong(replace(GOOD, code=0, said="", failed_stages=[])) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reached": False}, "never reached start"),
        ({"code": None, "ended": 120.0}, "hung for 120 s"),
        ({"code": 2}, "exit 2, documented 0, 1, 6: error: start failed"),
        ({"said": "error: it failed\nhelp: x"}, "the host is not named"),
        ({"said": "box-1 Traceback help:"}, "a traceback"),
        ({"said": "error: box-1 failed\nhelp: x", "failed_stages": []}, "the stage is not named"),
        ({"said": "error: start failed on box-1"}, "no help"),
        ({"served": ""}, "serves nothing, wanted v1 or v2"),
        ({"served": "v0"}, "serves v0"),
        ({"outage": 500.0}, "500 s without service"),
        ({"verify": "MANIFEST.sha256 is missing"}, "evidence: MANIFEST"),
        ({"lock": "box-1 stack: held"}, "lock: box-1"),
        ({"again": 6, "again_said": "error: a\nmore\n"}, "again: exit 6, error: a"),
        ({"page": "v1"}, "again passed and serves v1, not v2"),
        ({"left": ["container x created"]}, "left: container x"),
        ({"fault": "not undone"}, "the fault: not undone"),
    ],
)
def test_each_promise_is_looked_at(change: dict[str, Any], words: str) -> None:
    found = wrong(replace(GOOD, **change))
    assert len(found) == 1 and words in found[0], found


def test_the_last_line_is_the_error_where_there_is_one() -> None:
    assert last_line("a\n error: b\nhelp: c\n") == "error: b"
    assert last_line("a\nb\n\n") == "b" and last_line("") == ""


def test_the_table_has_every_cell_and_what_was_wrong() -> None:
    bad = replace(GOOD, cell=Cell("host-killed", "push"), code=None, ended=120.0, wrong=["hung for 120 s"])
    text = matrix(["dockerd-stopped", "host-killed"], [GOOD, bad])
    assert "| dockerd-stopped |  |  |  |  | 6, 9 s, 30.0 |  |  |  |" in text
    assert "**hung, 120 s, 30.0**" in text and "- **host-killed:push**: hung for 120 s" in text
    assert "1 of 2 cells ok" in text and "120 s (host-killed:push)" in text
    assert "ok" in one_line(GOOD) and "hung for 120 s" in one_line(bad)
    assert "No cell was run" in matrix(["host-killed"], [])
