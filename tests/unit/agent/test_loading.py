"""Notes of images that Docker is about to get: what they say, and whether who wrote them lives. Docker is the lab's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from canaryctl.agent.read.loads import read_notes
from canaryctl.agent.write.loading import living, write_note
from canaryctl.agent.write.staging import STALE, Staging
from canaryctl.hosts.ask import bundle

NOTES = "write_note(sys.argv[1], ['sha256:new'], ['sha256:new', 'sha256:old']); print(flush=True); sys.stdin.readline()"


def noting(root: Path) -> subprocess.Popen[bytes]:
    """A program that is about to have images come, as a host runs it."""
    argv = [sys.executable, "-c", f"{bundle('pull')}\n{NOTES}", str(root)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout and child.stdout.readline() == b"\n"
    return child


def test_a_note_is_abandoned_once_its_writer_was_killed(tmp_path: Path) -> None:
    with noting(tmp_path) as child:
        (note,) = read_notes(str(tmp_path))
        assert (note.new, note.wanted, note.abandoned) == (["sha256:new"], ["sha256:new", "sha256:old"], False)
        assert living(str(tmp_path)) == {"sha256:new", "sha256:old"} and living(str(tmp_path), but=note.path) == set()
        child.kill()
    (note,) = read_notes(str(tmp_path))
    assert note.abandoned and living(str(tmp_path)) == set()
    assert Path(note.path).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".incoming").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", ["", "{", "[]", "1", '{"new": "sha256:a"}', '{"new": null}', "\xff"])
def test_a_note_that_says_nothing_names_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / ".incoming").mkdir()
    (tmp_path / ".incoming" / "loading-1_ab.json").write_bytes(content.encode("latin-1"))
    (note,) = read_notes(str(tmp_path))
    assert note.new == note.wanted == [] and note.abandoned


def test_layers_are_no_notes_and_old_notes_stay_until_their_images_were_looked_for(tmp_path: Path) -> None:
    assert read_notes(str(tmp_path)) == []
    path, handle = write_note(str(tmp_path), ["sha256:a"], ["sha256:a"])
    os.close(handle)
    layer = tmp_path / ".incoming" / "sha256-1.zst"
    layer.write_text("half")
    for file in (path, layer):
        os.utime(file, (0, Path(file).stat().st_mtime - STALE - 1))
    Staging(str(tmp_path), "zst").make()
    assert [file.name for file in (tmp_path / ".incoming").iterdir()] == [Path(path).name]
    assert json.loads(Path(path).read_text()) == {"new": ["sha256:a"], "wanted": ["sha256:a"]}
