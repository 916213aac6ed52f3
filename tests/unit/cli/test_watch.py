"""What a watch shows: a table on a terminal, elsewhere what any run shows."""

from __future__ import annotations

import io
import os
import pty

import pytest

from canaryctl.cli.progress import JsonLines, Lines
from canaryctl.cli.watch import Table, make_watch


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setenv("TERM", "xterm")
    return Table(io.StringIO())


def shown(table: Table) -> str:
    from rich.console import Console

    table._console = Console(file=io.StringIO(), width=120)
    with table._console.capture() as captured:
        table._console.print(table._table())
    return captured.get()


def test_a_row_has_its_verdict_and_what_it_was_before(table: Table) -> None:
    table({"type": "probe.started", "name": "Front"})
    assert "Front" in shown(table) and "runs" in shown(table) and "the first round runs" in shown(table)
    table({"type": "probe.finished", "name": "Front", "verdict": "passed", "seconds": 0.25, "reason": "status 200"})
    table.tell({"type": "watch.waiting", "round": 1, "changes": 0, "seconds": 10.0})
    text = shown(table)
    assert "passed" in text and "status 200" in text and "was" not in text and "round 1, 0 changes; the next in" in text
    table.tell({"type": "probe.started", "name": "Front"})
    table.tell(
        {"type": "probe.finished", "name": "Front", "verdict": "failed", "seconds": 3, "reason": "no\x1b[2Jthing"}
    )
    table.tell({"type": "watch.waiting", "round": 2, "changes": 1, "seconds": 0.0})
    text = shown(table)
    assert "failed" in text and "was passed" in text and "round 2, 1 change; the next is under way" in text
    assert "\x1b[2J" not in text


def test_a_terminal_gets_the_table_and_a_pipe_or_a_script_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        assert isinstance(make_watch("text", out=terminal), Table)
        assert isinstance(make_watch("ndjson", out=terminal), JsonLines)
    os.close(leader)
    assert isinstance(make_watch("text", out=io.StringIO()), Lines)
