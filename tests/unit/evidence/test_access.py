"""Directories and files of a run: whose they are, one call at a time. Whole runs: test_private.py."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from canaryctl.evidence.private import close_to_others, file_mode, make_below, make_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("group", "expected"), [(None, 0o700), (os.getgid(), 0o2750)])
def test_what_was_missing_above_is_made_alike_and_what_was_there_stays(
    tmp_path: Path, group: int | None, expected: int
) -> None:
    tmp_path.chmod(0o2755)  # its setgid bit gives nobody access
    make_private(tmp_path / "runs" / "canary" / "one", group)
    assert [mode(tmp_path / part) for part in ("runs", "runs/canary", "runs/canary/one")] == [expected] * 3
    assert mode(tmp_path) == 0o2755
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "runs" / "canary" / "one", group)


@pytest.mark.parametrize(("directory", "file", "below"), [(0o700, 0o600, 0o700), (0o2750, 0o640, 0o2750)])
def test_what_is_below_has_the_access_of_the_directory(tmp_path: Path, directory: int, file: int, below: int) -> None:
    run = tmp_path / "run"
    run.mkdir()
    run.chmod(directory)
    make_below(run / "a" / "b")
    assert file_mode(run / "a" / "b") == file
    (run / "a" / "open").touch()
    (run / "a" / "open").chmod(0o666)
    (run / "a").chmod(0o777)
    (tmp_path / "theirs").touch(mode=0o644)
    (tmp_path / "theirs").chmod(0o644)
    (run / "link").symlink_to(tmp_path / "theirs")
    close_to_others(run)
    assert (mode(run / "a"), mode(run / "a" / "b"), mode(run / "a" / "open")) == (below, below, file)
    assert mode(tmp_path / "theirs") == 0o644
