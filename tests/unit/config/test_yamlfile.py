"""YAML files: positions, and faults that say file, line and the nearest name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from canaryctl.config.yamlfile import load_yaml, shown, validate
from canaryctl.config.yamltext import LARGEST
from canaryctl.errors import ConfigError


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    size: int = 0


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    parts: list[Part] = []


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "whole.yml"


def fault(file: Path, text: str | bytes) -> ConfigError:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        validate(Whole, load_yaml(file))
    return caught.value


def test_every_key_and_item_has_its_line_and_what_has_none_that_of_what_holds_it(file: Path) -> None:
    file.write_text("# first\nparts:\n- name: a\n- name: b\n  size: 3\n")
    document = load_yaml(file)
    assert validate(Whole, document).parts == [Part(name="a"), Part(name="b", size=3)]
    assert document.where("parts", 1, "size") == "whole.yml:5"
    assert document.where("parts", 0) == "whole.yml:3"
    assert document.where("parts", 0, "size") == "whole.yml:3"
    assert document.where("absent") == document.where() == "whole.yml:2"


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        ("parts:\n- name: a\n  siz: 1\n", 3, "unknown key 'parts.0.siz'", "'size'"),
        ("part: []\n", 1, "unknown key 'part'", "'parts'"),
        ("parts:\n- size: 1\n", 2, "'parts.0.name' is required", "add it"),
        ("parts:\n- name: a\n  size: big\n", 3, "'parts.0.size'", "fix"),
        ("parts: [\n", 2, "not valid YAML", "correct"),
        ("parts: []\nparts: []\n", 2, "appears twice", "correct"),
    ],
)
def test_a_fault_has_its_line_and_a_hint(file: Path, text: str, line: int, what: str, hint: str) -> None:
    error = fault(file, text)
    assert error.where == f"whole.yml:{line}" and what in error.what and hint in error.hint


def test_several_faults_are_said_together(file: Path) -> None:
    error = fault(file, "parts:\n- name: 1\n- size: x\n")
    assert error.where == "whole.yml:2" and "whole.yml:3" in error.what


@pytest.mark.parametrize("content", [b"a: \xff\n", b"#" * (LARGEST + 1)])
def test_bytes_that_are_no_text_and_too_many_are_refused(file: Path, content: bytes) -> None:
    assert fault(file, content).where == "whole.yml"


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(ConfigError, match="no regular file"):
        load_yaml(file)
    with pytest.raises(ConfigError, match="no such file"):
        load_yaml(file.with_name("absent.yml"))


def test_paths_below_the_working_directory_are_shown_relative(file: Path) -> None:
    assert shown(file) == "whole.yml" and shown(Path("/etc/hosts").resolve()) == str(Path("/etc/hosts").resolve())
