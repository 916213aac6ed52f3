"""Only a stack's own files are read, and never without bound."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from canaryctl.config.within import read_below, resolve_below, shown_below, shown_unresolved
from canaryctl.errors import ConfigError


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    folder = tmp_path / "stack"
    (folder / "rules").mkdir(parents=True)
    (folder / "rules/a").write_bytes(b"content")
    (tmp_path / "outside").write_bytes(b"secret")
    return folder


def read(folder: Path, name: str, most: int = 100) -> bytes:
    return read_below(folder, name, what="the asset", most=most)


def test_a_file_and_a_link_to_one_are_read(stack: Path) -> None:
    (stack / "link").symlink_to("rules/a")
    assert read(stack, "rules/a") == read(stack, "link") == read(stack, "rules/../rules/a", 7) == b"content"
    assert resolve_below(stack, "link", what="it") == (stack / "rules/a").resolve()


@pytest.mark.parametrize("name", ["../outside", "rules/../../outside", "link", "folder/outside", "/etc/hostname"])
def test_what_leads_out_is_refused(stack: Path, name: str) -> None:
    (stack / "link").symlink_to("../outside")
    (stack / "folder").symlink_to("..")
    with pytest.raises(ConfigError) as caught:
        read(stack, name)
    assert "leads out of" in caught.value.what and caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["rules", "pipe", "absent", "x" * 5000, "a\0b"])
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(stack: Path, name: str) -> None:
    os.mkfifo(stack / "pipe")
    with pytest.raises(ConfigError, match="the asset"):
        read(stack, name)


def test_a_file_may_be_as_long_as_is_said(stack: Path) -> None:
    assert read(stack, "rules/a", 7) == b"content"
    with pytest.raises(ConfigError, match="has more than"):
        read(stack, "rules/a", 6)


def test_the_error_names_the_place_that_the_caller_gives(stack: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_below(stack, "../outside", what="the context", where="stack.yml:3")
    assert caught.value.where == "stack.yml:3"


def test_paths_are_shown_as_the_stack_names_them(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (stack / "link").symlink_to("rules/a")
    monkeypatch.chdir(stack.parent)
    assert shown_unresolved(stack / "link") == "stack/link"
    assert shown_unresolved(Path("/etc/hosts")) == "/etc/hosts"
    assert shown_below(stack / "rules/a", stack) == "rules/a"
    assert shown_below(Path("/etc/hosts"), stack) == "/etc/hosts"
