"""A full disk: named before a run begins; one that fills meanwhile costs parts of the record, not the run."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from canaryctl.errors import ConfigError
from canaryctl.evidence import files, room
from canaryctl.evidence.document import RunIdentity
from canaryctl.evidence.run import Run
from canaryctl.evidence.store import load_run, verify


def begin(runs: Path, listeners: Any = ()) -> Run:
    return Run.start(runs, RunIdentity("deploy", "canary"), listeners=listeners)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What cannot be written any more, by the beginnings of names; the disk has room for everything else."""
    names: list[str] = []
    write = files.write_atomic

    def written(path: Path, content: bytes, *args: Any, **more: Any) -> None:
        if any(Path(path).name.startswith(name) for name in names):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content, *args, **more)

    monkeypatch.setattr(files, "write_atomic", written)
    return names


@pytest.mark.parametrize(("bound", "unit"), [("NEEDED", "bytes"), ("_INODES", "inodes")])
def test_a_full_disk_is_named_with_path_and_figures_before_anything(
    tmp_path: Path, bound: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, bound, 1 << 62)
    with pytest.raises(ConfigError) as caught:
        begin(tmp_path)
    assert "no space" in caught.value.what and f"{unit} are free" in caught.value.what and "--runs" in caught.value.hint
    assert caught.value.where == str(tmp_path / "canary") and not list((tmp_path / "canary").iterdir())


def test_room_for_the_end_is_kept_until_then_and_is_no_evidence(tmp_path: Path) -> None:
    run = begin(tmp_path)
    assert (run.path / room.NAME).stat().st_blocks * 512 >= 1 << 20
    run.finish("passed", 0)
    assert verify(run.path) == [] and not (run.path / room.NAME).exists()


def test_what_cannot_be_written_is_told_once_and_the_run_goes_on(tmp_path: Path, full: list[str]) -> None:
    events: list[dict[str, Any]] = []
    run = begin(tmp_path, [events.append])
    full += ["facts", "report"]
    run.host_file("h1", "facts.json", {})
    run.host_file("h2", "facts.json", {})
    run.finish("passed", 0)
    (told,) = [event for event in events if event["type"] == "warning"]
    assert "No space left" in told["what"] and told["where"].endswith("facts.json")
    document = load_run(tmp_path).document
    assert document["verdict"] == "passed" and verify(run.path) == []
    assert any("report.html could not be written" in note for note in document["notes"])


def test_a_record_that_cannot_be_kept_is_a_warning_beside_what_came_of_it(tmp_path: Path, full: list[str]) -> None:
    events: list[dict[str, Any]] = []
    run = begin(tmp_path, [events.append])
    full.append("run.json")
    run.finish("failed", 6)
    assert run.document["exit_code"] == 6 and "not kept" in run.document["warnings"][-1]["what"]
    assert "not kept" in events[-1]["what"]
    full.clear()
    begin(tmp_path).finish("passed", 0)
    assert verify(run.path) == []
    assert load_run(tmp_path, run.id).document["verdict"] == "interrupted"


def test_a_folder_for_a_stage_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    run = begin(tmp_path)
    (run.path / "ansible").write_text("in the way")
    assert run.ansible_dir("start") == run.path / "ansible/start"
    assert "incomplete" in run.document["warnings"][0]["what"]
