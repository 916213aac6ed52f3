"""The newest lines of a history, as a host reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from canaryctl.agent.read.history import answer_history


@pytest.fixture
def history(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop" / "history.jsonl"


def answered(history: Path, capsys: pytest.CaptureFixture[str], lines: int = 50) -> dict[str, Any]:
    answer_history({"root": str(history.parents[1]), "stack": "shop", "lines": lines})
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_newest_lines_come_oldest_first(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.write_text("".join(f'{{"n": {number}}}\n' for number in range(9)))
    assert answered(history, capsys, 2) == {"agent": 1, "lines": [{"n": 7}, {"n": 8}], "error": ""}
    assert len(answered(history, capsys)["lines"]) == 9


def test_a_long_history_is_read_from_its_end_alone(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.write_text("".join(json.dumps({"n": number, "x": "x" * 1000}) + "\n" for number in range(3000)))
    found = answered(history, capsys, 3)["lines"]
    assert [line["n"] for line in found] == [2997, 2998, 2999]


def test_a_line_that_was_cut_is_left_out(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.write_bytes(b'{"n": 1}\n{"n": \n\xff\n{"n": 2}\n{"n"')
    assert answered(history, capsys)["lines"] == [{"n": 1}, {"n": 2}]


def test_a_stack_that_was_never_here_has_none(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(history, capsys) == {"agent": 1, "lines": [], "error": ""}


def test_what_is_no_plain_file_is_an_error_and_not_read(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").write_text('{"n": 1}\n')
    history.symlink_to(tmp_path / "other")
    found = answered(history, capsys)
    assert found["lines"] == [] and found["error"]
