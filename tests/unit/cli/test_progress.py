"""Progress on a terminal, in a pipe and as JSON lines."""

from __future__ import annotations

import json
import os
import pty
import select
from typing import Any

import pytest
from printed import stream, text_of

from canaryctl.cli.progress import Lines, Live, describe, make_progress, track


def test_a_change_seen_while_watching_is_a_line_with_its_time() -> None:
    event = {"type": "probe.changed", "time": "2026-11-24T08:15:30.123456Z", "name": "Front", "before": "passed"}
    assert describe({**event, "verdict": "failed", "round": 7, "reason": "HTTP 500"}) == (
        "2026-11-24T08:15:30Z probe Front was passed, now failed (round 7): HTTP 500"
    )
    assert describe({**event, "before": "failed", "verdict": "passed", "round": 8}).endswith("now passed (round 8)")


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
