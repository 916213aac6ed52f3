"""Runs and plans as text."""

from __future__ import annotations

import json

from printed import result, stream, text_of

from canaryctl.cli.output import clean
from canaryctl.cli.progress import describe
from canaryctl.cli.results import print_beside, print_plan, print_result


def test_a_baseline_and_its_candidate_stand_side_by_side() -> None:
    row = {"kind": "http", "reason": "", "blame": None, "attempts": 1, "seconds": 0.25}
    baseline = result(id="b", role="baseline", variant="monolithic")
    candidate = result(role="candidate", probes=[{"name": "Backend Health", "verdict": "failed", **row}])
    for encoding, marks in (("utf-8", "✅ PASS ❌ FAIL ⚠️"), ("ascii", "passed failed inconclusive")):
        out = stream(encoding)
        print_beside(baseline, candidate, out)
        lines = text_of(out).splitlines()
        passed, failed, unsure = marks.replace("✅ ", "✅_").replace("❌ ", "❌_").split()
        assert lines[0].split() == ["Test", "baseline", "monolithic", "candidate", "split"]
        assert lines[1].split("  ")[-1].strip() == failed.replace("_", " ")
        assert passed.replace("_", " ") in lines[1] and unsure in lines[2] and lines[2].endswith("no such row")
    out = stream()
    print_beside(baseline, baseline, out)
    assert text_of(out) == ""


def test_rows_that_do_not_gate_and_metrics_say_so() -> None:
    row = {"kind": "http", "reason": "slow", "blame": None, "attempts": 1, "seconds": 0.25, "gates": False}
    reason = "p95 is 312 ms (n=40), above the 250 ms allowed"
    out = stream()
    print_result(
        result(
            probes=[{"name": "Side", "verdict": "failed", **row}],
            metrics=[{"name": "latency", "verdict": "failed", "gates": True, "reason": reason}],
        ),
        "text",
        out=out,
        err=stream(),
    )
    assert "does not gate" in text_of(out) and "metric latency: failed" in text_of(out) and reason in text_of(out)


def test_the_result_shows_rows_verdict_release_and_evidence() -> None:
    out = stream()
    print_result(result(), "text", out=out)
    text = text_of(out)
    for needed in ("✓ Backend Health", "passed", "! Training Lifecycle", "inconclusive", "strategy_19", "push", "h1"):
        assert needed in text
    for needed in ("verdict", "ab" * 32, "split", "runs/canary/x/report.md", "empty → 0002"):
        assert needed in text
    assert "\x1b" not in text


def test_a_flaky_pass_says_after_how_many_failures() -> None:
    out = stream()
    row = {"name": "Front", "kind": "http", "verdict": "passed", "reason": "", "blame": None, "attempts": 3}
    print_result(result(probes=[{**row, "seconds": 1.0, "flaky": True}]), "text", out=out)
    assert "flaky: passed after 2 failed attempts" in text_of(out)
    event = {"type": "probe.finished", "name": "Front", "verdict": "passed", "attempts": 2, "seconds": 1, "flaky": True}
    assert describe(event) == "probe Front passed 1.0s: flaky: passed after 1 failed attempt"


def test_narrow_ascii_output_is_wrapped_ascii() -> None:
    out = stream("ascii")
    print_result(result(variant="café"), "text", out=out)
    text = text_of(out)
    assert "+ Backend Health" in text and "empty -> 0002" in text
    assert all(len(line) <= 80 or "release" in line for line in text.splitlines())


def test_json_puts_the_document_alone_on_stdout() -> None:
    out, err = stream("latin-1"), stream()
    error = {"what": "café ✓", "where": "h1", "hint": ""}
    print_result(result(error=error), "json", out=out, err=err)
    assert json.loads(text_of(out))["error"] == error
    assert "error: café" in text_of(err)
    out = stream()
    print_result(result(), "ndjson", out=out, err=err)
    assert json.loads(text_of(out))["document"]["verdict"] == "inconclusive"


def test_foreign_text_cannot_drive_the_terminal() -> None:
    assert clean("a\x1b]0;owned\x07b\r\nc\td\x9b") == "a\ufffd]0;owned\ufffdb\nc d\ufffd"
    out = stream()
    run = result()
    run["probes"][1]["reason"] = "\x1b[2J"
    print_result(run, "text", out=out)
    assert "\x1b" not in text_of(out)


def test_a_plan_is_shown_host_by_host_and_an_empty_one_says_so() -> None:
    out = stream()
    print_plan([], out)
    print_plan([{"host": "h1", "stage": "push", "what": "web", "reason": "not on the host"}], out)
    assert text_of(out) == "nothing to change\nh1\n  push       web\n             because not on the host\n"
