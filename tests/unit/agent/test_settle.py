"""A change's steps on a host's disk, and what an operator who confirms is told: in a directory of its own."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from local import local

from canaryctl.agent.write import settle
from canaryctl.hosts.history import append

LINE = {"time": "2026-01-01T00:00:00Z", "what": "verdict", "to": "x" * 64, "verdict": "passed"}


def begun(root: Path, phase: str = "started", **more: Any) -> Path:
    path = root / "shop" / "change.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"id": "run-1", "phase": phase, "confirm": 30.0, "back": {"release": "r", "project": "p"}, "begun": 1.0}
    settle.write_change(str(path), {**known, **more})
    return path


def phase_of(path: Path) -> str:
    found = json.loads(path.read_text())["phase"]
    assert isinstance(found, str)
    return found


def lines(root: Path) -> int:
    history = root / "shop" / "history.jsonl"
    return len(history.read_text().splitlines()) if history.exists() else 0


@pytest.mark.parametrize("phase", ["begun", "started", "failed", "confirmed"])
def test_what_is_confirmed_in_time_stays_and_is_in_the_history(tmp_path: Path, phase: str) -> None:
    path = begun(tmp_path, phase)
    assert append(local(root=tmp_path), "shop", LINE, confirm="run-1") == "confirmed"
    assert phase_of(path) == "confirmed" and lines(tmp_path) == 1
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("phase", ["returning", "returned", "stranded"])
def test_who_confirms_too_late_is_told_and_leaves_no_line(tmp_path: Path, phase: str) -> None:
    path = begun(tmp_path, phase)
    assert append(local(root=tmp_path), "shop", LINE, confirm="run-1") == phase
    assert phase_of(path) == phase and lines(tmp_path) == 0


def test_what_had_nothing_to_go_back_to_can_be_confirmed_later(tmp_path: Path) -> None:
    path = begun(tmp_path, "stranded", back=None)
    assert append(local(root=tmp_path), "shop", LINE, confirm="run-1") == "confirmed" and phase_of(path) == "confirmed"


def test_a_change_of_somebody_else_is_not_confirmed(tmp_path: Path) -> None:
    path = begun(tmp_path, id="run-2")
    assert append(local(root=tmp_path), "shop", LINE, confirm="run-1") == ""
    assert phase_of(path) == "started" and lines(tmp_path) == 1


def test_a_host_without_a_change_has_only_its_history(tmp_path: Path) -> None:
    assert append(local(root=tmp_path), "shop", LINE, confirm="run-1") == ""
    assert lines(tmp_path) == 1 and not (tmp_path / "shop" / "change.json").exists()


def test_only_something_to_confirm_leaves_no_line(tmp_path: Path) -> None:
    path = begun(tmp_path)
    assert append(local(root=tmp_path), "shop", None, confirm="run-1") == "confirmed"
    assert phase_of(path) == "confirmed" and lines(tmp_path) == 0


def test_what_is_given_up_is_marked_and_goes_on_in_its_phase(tmp_path: Path) -> None:
    path = begun(tmp_path)
    assert append(local(root=tmp_path), "shop", LINE, give_up="run-1") == "started"
    assert json.loads(path.read_text())["unwanted"] is True and phase_of(path) == "started" and lines(tmp_path) == 1
    begun(tmp_path, id="run-2")
    append(local(root=tmp_path), "shop", LINE, give_up="run-1")
    assert "unwanted" not in json.loads(path.read_text())


@pytest.mark.parametrize("phase", ["confirmed", "returned", "returning"])
def test_what_is_settled_cannot_be_given_up_and_the_line_is_written(tmp_path: Path, phase: str) -> None:
    path = begun(tmp_path, phase)
    assert append(local(root=tmp_path), "shop", LINE, give_up="run-1") == phase
    assert "unwanted" not in json.loads(path.read_text()) and lines(tmp_path) == 1


def test_a_step_is_taken_from_its_phases_alone(tmp_path: Path) -> None:
    path = str(begun(tmp_path))
    assert settle.advance(path, "run-1", ("begun",), "failed") == "started"
    assert settle.advance(path, "run-1", ("started",), "returning", returning=2.0) == "returning"
    found = settle.read_change(path)
    assert found and (found["phase"], found["returning"]) == ("returning", 2.0)
    assert settle.advance(path, "another", ("returning",), "returned") == ""
    settle.forget(path)
    settle.forget(path)
    assert settle.read_change(path) is None and settle.advance(path, "run-1", ("returning",), "returned") == ""


def test_each_step_is_on_the_disk_before_it_is_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power loss may leave an empty file there, on XFS say."""
    path, calls = str(begun(tmp_path)), []
    sync, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), move(old, new)))
    for phase in ("started", "returning", "returned"):
        calls.clear()
        assert settle.advance(path, "run-1", ("started", "returning"), phase) == phase
        assert calls[:2] == ["sync", "replace"]


def test_a_full_disk_with_room_for_half_of_it_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = begun(tmp_path)
    before, real = path.read_bytes(), os.pwrite

    def no_file(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(settle, "write_atomic", no_file)
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: real(handle, data[: len(before) + 5], at))
    with pytest.raises(OSError, match="no room"):
        settle.advance(str(path), "run-1", ("started",), "failed", result="x" * 2000)
    assert path.read_bytes() == before
    assert settle.advance(str(path), "run-1", ("started",), "failed") == "failed" and phase_of(path) == "failed"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1}', "\x00"])
def test_what_is_no_change_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "change.json").write_text(text)
    assert settle.read_change(str(tmp_path / "change.json")) is None
