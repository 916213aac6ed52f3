"""Text of others in reports: it stays text, on its line, and tells a terminal nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from canaryctl.evidence import templating
from canaryctl.evidence.templating import cell, code, indented, pretty, result


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (None, ""),
        ("a\n  b", "a b"),
        ("a|b`c*d\\", "a\\|b\\`c\\*d\\\\"),
        ("[x](http://evil)", "[x]\\(http://evil)"),
        ("# heading", "\\# heading"),
        ("1. one", "1\\. one"),
        ("2026 was", "2026 was"),
        ("- item", "\\- item"),
        ("<script>", "&lt;script>"),
        ("\x1b[31mred\u202e", "\ufffd[31mred\ufffd"),
        ("x" * 600, "x" * 499 + "…"),
    ],
)
def test_a_cell_is_one_line_without_markup_of_its_own(text: Any, written: str) -> None:
    assert cell(text) == written


@pytest.mark.parametrize(
    ("text", "written"), [("", ""), ("a b", "`a b`"), ("a`b", "`` a`b ``"), ("a``|b", "``` a``\\|b ```")]
)
def test_code_is_fenced_by_more_than_it_holds(text: str, written: str) -> None:
    assert code(text) == written


def test_a_block_is_code_line_by_line_whatever_it_holds() -> None:
    assert indented("```\r\n# x\n\x1b") == "    ```\n    # x\n    \ufffd"


@pytest.mark.parametrize(
    ("row", "written"),
    [
        (None, ""),
        ({"verdict": "passed", "reason": "status 200"}, "✅ PASS"),
        ({"verdict": "failed", "reason": "status 500"}, "❌ FAIL: status 500"),
        ({"verdict": "failed"}, "❌ FAIL"),
        ({"verdict": "inconclusive", "reason": "no data"}, "⚠️ no data"),
        ({"verdict": "inconclusive"}, "⚠️ inconclusive"),
        ({"verdict": "failed", "gates": False}, "❌ FAIL (does not gate)"),
        ({"verdict": "passed", "gates": False}, "✅ PASS"),
        ({"verdict": "odd"}, "odd"),
    ],
)
def test_a_result_as_the_note_writes_it(row: Any, written: str) -> None:
    assert result(row) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [('{"a":1}', '{\n  "a": 1\n}'), ("{broken", "{broken"), ("plain", "plain"), ({"é": 1}, '{\n  "é": 1\n}')],
)
def test_json_is_indented_and_all_else_left_as_it_is(text: Any, written: str) -> None:
    assert pretty(text) == written


@pytest.mark.parametrize(("mode", "kept"), [(0o700, True), (0o720, False), (0o702, False)])
def test_compiled_templates_are_kept_only_where_nobody_else_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, kept: bool
) -> None:
    tmp_path.chmod(mode)
    monkeypatch.setattr(templating, "cache_home", lambda name: tmp_path)
    assert (templating._compiled() is not None) == kept
