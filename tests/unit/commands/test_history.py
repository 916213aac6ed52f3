"""What happened to an environment: hosts' histories merged into one, and since when a release serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from canaryctl.agent.read.state import last_lines
from canaryctl.cli.history import history_lines
from canaryctl.commands.history import History, made_current, merge

A, B = "a" * 64, "b" * 64


def line(time: str, what: str = "deploy", to: str | None = A, before: str | None = None, **more: Any) -> dict[str, Any]:
    fixed = {"who": "ann@desk", "environment": "canary", "verdict": None, "run": "r1"}
    return {"time": f"2026-11-24T{time}Z", "what": what, "from": before, "to": to, **fixed, **more}


def test_what_one_run_wrote_on_several_hosts_is_one_row() -> None:
    rows = merge({"one": [line("10:00:02")], "two": [line("10:00:01")]})
    assert [(row["hosts"], row["time"]) for row in rows] == [(["one", "two"], "2026-11-24T10:00:01Z")]


def test_hosts_that_came_from_different_releases_have_rows_of_their_own() -> None:
    rows = merge({"one": [line("10:00:01", before=B)], "two": [line("10:00:02")]})
    assert [row["hosts"] for row in rows] == [["two"], ["one"]]


def test_the_same_line_twice_on_one_host_happened_twice() -> None:
    assert len(merge({"one": [line("10:00:01"), line("10:00:02")]})) == 2


def test_rows_are_newest_first_across_hosts() -> None:
    rows = merge({"one": [line("10:00:00"), line("12:00:00", run="r3")], "two": [line("11:00:00", run="r2")]})
    assert [row["run"] for row in rows] == ["r3", "r2", "r1"]


def text(*lines: dict[str, Any]) -> str:
    return "\n".join(history_lines(History("canary", "s", merge({"one": list(lines)}))))


def test_a_row_says_when_who_what_from_where_to_where_and_the_verdict() -> None:
    said = text(line("10:00:00.123456", what="verdict", before=B, verdict="passed"))
    for word in ("2026-11-24 10:00:00", "verdict", f"{'b' * 12} -> {'a' * 12}", "passed", "ann@desk", "one", "r1"):
        assert word in said
    assert "a" * 13 not in said


def test_reasons_roles_and_whatever_else_a_line_has_are_said() -> None:
    said = text(
        line("10:00:00", reason="the pump is dry", forced=True, role="baseline", window=[1, 2], simulated=False)
    )
    assert "because the pump is dry" in said and "deploy (baseline)" in said
    assert "forced, window 1, 2" in said and "simulated" not in said


def test_another_environment_on_the_same_hosts_is_named() -> None:
    assert "deploy (of fleet)" in text(line("10:00:00", environment="fleet"))


def test_no_history_is_said() -> None:
    assert "no history" in text()


def test_a_release_serves_since_the_change_that_brought_it_not_since_its_last_mending() -> None:
    lines = [line("09:00:00", to=B), line("10:00:00", before=B), line("11:00:00", before=A)]
    found = made_current(A, lines)
    assert found is not None and found["time"] == "2026-11-24T10:00:00Z"


def test_verdicts_and_single_stages_do_not_make_a_release_current() -> None:
    lines = [line("10:00:00"), line("11:00:00", what="verdict"), line("12:00:00", what="push", to=B)]
    found = made_current(A, lines)
    assert found is not None and found["time"] == "2026-11-24T10:00:00Z"


def test_a_failed_change_to_another_release_leaves_the_old_one_where_it_was() -> None:
    lines = [line("10:00:00"), line("11:00:00", to=B, before=A, verdict="failed")]
    found = made_current(A, lines)
    assert found is not None and found["time"] == "2026-11-24T10:00:00Z"


def test_what_the_history_does_not_tell_is_unknown() -> None:
    assert made_current(A, [line("10:00:00"), line("11:00:00", what="down")]) is None
    assert made_current(A, [line("10:00:00"), line("11:00:00", to=B)]) is None
    assert made_current(None, [line("10:00:00", to=None)]) is None


def test_as_many_lines_as_asked_for_are_read_from_the_end(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(200)) + '{"cut')
    assert [entry["n"] for entry in last_lines(str(file), 3)] == [198, 199]
    assert len(last_lines(str(file), 500)) == 200


def test_who_signed_a_verdict_is_said_and_what_proves_nothing() -> None:
    by = {"by": "ann@desk", "key": "SHA256:x"}
    said = text(line("10:00:00", what="verdict", verdict="passed", signature="---", signer="SHA256:x", signed=by))
    assert "signed by ann@desk (SHA256:x)" in said and "---" not in said and "signer" not in said
    assert "proves nothing by itself: it is not signed" in text(line("10:00:00", unsigned="it is not signed"))


@pytest.mark.parametrize(("verdict", "known"), [(None, False), ("failed", True)])
def test_a_down_that_failed_has_not_ended_what_serves(verdict: str | None, known: bool) -> None:
    brought = line("10:00:01", before=B)
    assert (made_current(A, [brought, line("10:00:02", "down", verdict=verdict)]) == brought) is known


def test_a_down_of_another_environment_has_ended_nothing_of_this_one() -> None:
    brought = line("10:00:01", before=B)
    assert made_current(A, [brought, line("10:00:02", "down", environment="prod")]) == brought
    ended = [line("10:00:01"), line("10:00:02", "down"), line("10:00:03", "down", environment="prod")]
    assert made_current(A, ended) is None
    again = [line("09:00:00", before=A), line("09:30:00", "down"), line("10:00:00", before=A)]
    found = made_current(A, again)
    assert found is not None and found["time"] == "2026-11-24T10:00:00Z"
