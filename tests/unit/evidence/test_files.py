"""Plain data and files of the evidence."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from canaryctl.evidence.files import (
    MANIFEST,
    encode,
    files_below,
    json_text,
    plain,
    safe_name,
    sha256,
    to_json,
    write,
    write_manifest,
)


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Row:
    name: str
    tags: frozenset[str] = frozenset()
    more: dict[Any, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (Colour.RED, "red"),
        ((1, (2, 3)), [1, [2, 3]]),
        ({3, 1, "b"}, [1, 3, "b"]),
        (b"a\xff", "a\ufffd"),
        (date(2026, 3, 9), "2026-03-09"),
        (datetime(2026, 3, 9, 12, tzinfo=UTC), "2026-03-09T12:00:00+00:00"),
        (Path("/a/b"), "/a/b"),
        ({Colour.RED: 1, 2: Path("x")}, {"red": 1, "2": "x"}),
        (Row("a", frozenset({"y", "x"}), {None: Row("b")}), {
            "name": "a", "tags": ["x", "y"], "more": {"None": {"name": "b", "tags": [], "more": {}}},
        }),
        (Row, str(Row)),
    ],
)  # fmt: skip
def test_a_value_becomes_what_json_has(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert json.loads(json_text(plain(value))) == expected


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x7f", "\x9b", "\u202e", "\u2028", "\ud800", "\x00", "\r\n"])
def test_json_drives_no_terminal_and_reads_back_the_same(odd: str) -> None:
    content = to_json({"text": f"é{odd}✓"})
    text = content.decode()
    assert "é" in text and "✓" in text and odd not in text
    assert json.loads(content) == {"text": f"é{odd}✓"}


def test_what_utf8_cannot_say_is_escaped() -> None:
    assert encode("a\ud800é") == b"a\\ud800\xc3\xa9"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("web-1.log", "web-1.log"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("..", "__"),
        ("", "_"),
        ("a b\n\u202e", "a_b__"),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_name_stays_where_it_is_put(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(("directory", "file", "below"), [(0o700, 0o600, 0o700), (0o750, 0o640, 0o2750)])
def test_a_file_is_for_those_who_read_its_directory(tmp_path: Path, directory: int, file: int, below: int) -> None:
    run = tmp_path / "run"
    run.mkdir()
    run.chmod(directory)
    for content in (b"one", b"two"):
        write(run / "deep" / "record.json", content)
    found = run / "deep" / "record.json"
    assert (found.read_bytes(), found.stat().st_mode & 0o7777) == (b"two", file)
    assert found.parent.stat().st_mode & 0o7777 == below
    assert list(files_below(run)) == ["deep/record.json"]


def test_the_manifest_is_what_sha256sum_checks_and_lists_all_but_itself(tmp_path: Path) -> None:
    for name in ("b", "a", "sub/c d"):
        write(tmp_path / name, name.encode())
    (tmp_path / "loop").symlink_to(tmp_path)  # linked directories are not entered
    for _ in range(2):
        write_manifest(tmp_path)
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == ["a", "b", "sub/c d"]
    assert lines[0].startswith(sha256(tmp_path / "a"))
    subprocess.run(["sha256sum", "-c", "--quiet", "--strict", MANIFEST], cwd=tmp_path, check=True)
