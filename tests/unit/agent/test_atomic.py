"""Files written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from canaryctl.agent.write.atomic import write_atomic


@pytest.fixture(params=[0o000, 0o077], ids=["open umask", "private umask"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
@pytest.mark.usefixtures("umask")
def test_the_mode_is_what_was_asked_for_also_over_a_file_with_another(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "record"
    for content in (b"first", b""):
        write_atomic(file, content, mode)
        assert (file.read_bytes(), file.stat().st_mode & 0o777) == (content, mode)
        file.chmod(0o444)
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_link_is_replaced_and_what_it_leads_to_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "ours").symlink_to("theirs")
    write_atomic(tmp_path / "ours", b"new")
    assert not (tmp_path / "ours").is_symlink()
    assert (tmp_path / "theirs").read_text() == "theirs"


def test_a_name_without_a_folder_is_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomic("plain", b"x")
    assert (tmp_path / "plain").read_bytes() == b"x"


def test_where_it_cannot_take_the_name_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "file", b"x")


def test_a_file_can_be_had_on_the_disk(tmp_path: Path) -> None:
    write_atomic(tmp_path / "pins", b"one", 0o644, sync=True)
    write_atomic(tmp_path / "pins", b"two", 0o644, sync=True)
    assert (tmp_path / "pins").read_bytes() == b"two"
