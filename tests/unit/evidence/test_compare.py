"""Two runs side by side: every row of either is there, and a difference is said once, in figures people read."""

from __future__ import annotations

import json

import pytest
from documents import deployed

from canaryctl.evidence.compare import LOG_ROWS, compare
from canaryctl.evidence.document import new_document
from canaryctl.evidence.page import render_comparison_html
from canaryctl.evidence.report import render_comparison_markdown, render_markdown
from canaryctl.evidence.sidebyside import Line, tables

MONOLITHIC, SPLIT = deployed("monolithic", 14, role="baseline"), deployed("split", role="candidate")


def lines(title: str, a: dict = MONOLITHIC, b: dict = SPLIT) -> dict[str, Line]:  # type: ignore[type-arg]
    (table,) = [table for table in tables(compare(a, b)) if table.title == title]
    return {line.label: line for line in table.lines}


def test_it_names_both_runs_and_every_probe_of_either() -> None:
    a = {**MONOLITHIC, "probes": MONOLITHIC["probes"][:2]}
    b = {**SPLIT, "probes": SPLIT["probes"][1:]}
    found = json.loads(json.dumps(compare(a, b)))
    assert (found["a"]["id"], found["b"]["id"]) == (a["id"], b["id"])
    assert [(row["name"], row["a"] is not None, row["b"] is not None) for row in found["probes"]] == [
        ("Backend Health", True, False),
        ("Workers Registered", True, True),
        ("Training Lifecycle", False, True),
        ("Backtest Lifecycle", False, True),
    ]


def test_columns_are_called_by_what_tells_the_runs_apart() -> None:
    def titles(a: dict, b: dict) -> tuple[str, str]:  # type: ignore[type-arg]
        found = compare(a, b)
        return found["a"]["title"], found["b"]["title"]

    assert titles(MONOLITHIC, SPLIT) == ("baseline (monolithic)", "candidate (split)")
    plain = [{**run, "role": None} for run in (MONOLITHIC, SPLIT)]
    assert titles(*plain) == ("monolithic", "split")
    assert titles(plain[1], {**plain[1], "environment": "staging"}) == ("canary", "staging")
    assert titles(plain[1], plain[1]) == (SPLIT["id"], SPLIT["id"])


def test_sizes_are_compared_service_by_service() -> None:
    line = lines("Image size")["backend"]
    assert (line.a, line.b, line.change) == ("917 MB worker_gpu", "196 MB backend", "-721 MB (-79 %)")
    assert line.mood == "better" and lines("Image size")["db"].change == ""


def test_start_up_memory_and_latency_are_there_with_their_n() -> None:
    assert lines("Start to healthy")["backend on canary-1"].change == "-0.84 s (-29 %)"
    assert lines("Memory")["backend on canary-1"].b == "71 MB"
    assert lines("Latency, median")["Training Lifecycle"].b == "9.1 ms, n 2"
    assert lines("Latency, longest")["Training Lifecycle"].b == "31 ms, n 2"


def test_what_got_worse_is_marked_and_noise_is_not() -> None:
    assert lines("Memory", SPLIT, MONOLITHIC)["backend on canary-1"].mood == "worse"
    assert lines("Memory")["db on canary-1"].mood == ""
    broken = {**SPLIT, "probes": [{**SPLIT["probes"][0], "verdict": "failed", "reason": "HTTP 500"}]}
    line = lines("Tests", b=broken)["Backend Health"]
    assert (line.change, line.mood, line.verdicts) == ("passed → failed", "worse", ("passed", "failed"))
    assert lines("Tests", b=broken)["Training Lifecycle"].change == "gone"


def test_log_lines_show_what_only_one_run_said_and_the_worst_first() -> None:
    def run(*patterns: tuple[str, str, int]) -> dict:  # type: ignore[type-arg]
        rows = [{"level": level, "pattern": text, "count": n, "example": text} for level, text, n in patterns]
        return {**SPLIT, "logs": {"h1": {"web": {"lines": [], "patterns": rows}}, "h2": {"web": {"patterns": rows}}}}

    a = run(("warning", "slow", 2), ("info", "ready", 1), ("error", "gone for good", 1))
    b = run(("warning", "slow", 5), ("info", "ready", 1), ("traceback", "KeyError: …", 1), ("info", "hello", 1))
    assert [(row["pattern"], row["a"], row["b"]) for row in compare(a, b)["logs"]] == [
        ("KeyError: …", 0, 2),
        ("gone for good", 2, 0),
        ("slow", 4, 10),
        ("hello", 0, 2),
        ("ready", 2, 2),
    ]
    shown = lines("Log lines", a, b)
    assert [line.mood for line in shown.values()] == ["worse", "better", "", ""]
    assert "web info: ready" not in shown
    many = run(*[("info", f"line {chr(200 + n)}", 1) for n in range(300)])
    assert len(compare(many, b)["logs"]) == LOG_ROWS


def test_runs_on_other_hosts_are_compared_by_service() -> None:
    elsewhere = {**SPLIT, "containers": [{**row, "host": "staging-1"} for row in SPLIT["containers"]]}
    assert lines("Memory", b=elsewhere)["backend"].change == "-111 MB (-61 %)"


def test_runs_that_hold_next_to_nothing_compare_too() -> None:
    old = new_document(id="20260101T000000Z-push-0000", command="push", environment="canary")
    for key in ("containers", "logs", "comparison", "probed_from", "probed_until"):
        old.pop(key)
    assert tables(compare(old, old)) == []
    assert {row["name"] for row in compare(old, SPLIT)["probes"]} == {row["name"] for row in SPLIT["probes"]}


@pytest.mark.parametrize("render", [render_comparison_markdown, render_comparison_html])
def test_each_form_has_both_columns(render) -> None:  # type: ignore[no-untyped-def]
    text = render(compare(MONOLITHIC, SPLIT))
    for needed in ("baseline (monolithic)", "candidate (split)", MONOLITHIC["id"], SPLIT["id"], "Workers Registered"):
        assert needed in text


def test_the_hand_off_note_has_the_results_in_two_columns() -> None:
    broken = {**SPLIT["probes"][2], "verdict": "inconclusive", "reason": "the strategy 'x' does not exist"}
    run = {**SPLIT, "probes": [*SPLIT["probes"][:2], broken]}
    text = render_markdown({**run, "comparison": compare(MONOLITHIC, run)})
    table = text[text.index("| Test |") :].split("\n\n")[0].splitlines()
    assert table == [
        "| Test | baseline (monolithic) | candidate (split) |",
        "|------|------|------|",
        "| Backend Health | ✅ PASS | ✅ PASS |",
        "| Workers Registered | ✅ PASS | ✅ PASS |",
        "| Training Lifecycle | ✅ PASS | ⚠️ the strategy 'x' does not exist |",
        "| Backtest Lifecycle | ✅ PASS |  |",
    ]
    assert "| Memory | baseline (monolithic) | candidate (split) | Change |" in text
    assert "\n\n\n" not in text
