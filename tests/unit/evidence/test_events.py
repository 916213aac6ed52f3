"""The event log of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from canaryctl.evidence import events
from canaryctl.evidence.events import PROGRESS, EventLog, has_ended, is_held


def test_it_is_held_while_it_is_open_and_of_those_that_read_the_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    log = EventLog(tmp_path)
    assert is_held(tmp_path) and not has_ended(tmp_path)
    assert (tmp_path / events.NAME).stat().st_mode & 0o777 == 0o640
    log.append({"type": "note", "text": "a\u2028b\ud800"})
    log.close()
    assert has_ended(tmp_path) and not is_held(tmp_path)
    text = (tmp_path / events.NAME).read_text()
    assert json.loads(text)["text"] == "a\u2028b\ud800" and text.count("\n") == 1 == len(text.splitlines())


def test_what_is_no_runs_directory_has_neither_ended_nor_is_it_held(tmp_path: Path) -> None:
    assert (has_ended(tmp_path), is_held(tmp_path)) == (False, False)
    assert (has_ended(tmp_path / "gone"), is_held(tmp_path / "gone")) == (False, False)


def test_progress_of_each_host_is_taken_now_and_then_and_all_else_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 100.0
    monkeypatch.setattr(events.time, "monotonic", lambda: moment)
    log = EventLog(tmp_path)
    assert [log.takes(PROGRESS, host) for host in ("one", "one", "two")] == [True, False, True]
    assert log.takes("note", "one") and log.takes("note", "one")
    moment += 0.5
    assert [log.takes(PROGRESS, host) for host in ("one", "one")] == [True, False]
    log.close()
