"""What is promoted, or forced past promotion, as text."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.cli.promotion import print_promotion, promotion_text

PROMOTION: dict[str, Any] = {
    "from": "canary", "release": "a" * 64, "variant": "split", "verdict": "passed", "when": "2026-11-24T08:15:30Z",
    "by": "ops", "run": "r", "simulated": False, "contracts": {"passed": 2},
    "images": {"web": {"id": "sha256:" + "a" * 64, "from": "here"}},
}  # fmt: skip


def test_a_promotion_is_a_few_lines_that_foreign_text_adds_none_to() -> None:
    lines = promotion_text(PROMOTION).splitlines()
    assert lines[0].startswith(f"promotes release {'a' * 12} (split) from canary") and len(lines) == 3
    assert len(promotion_text({**PROMOTION, "by": "ops\nforced: x"}).splitlines()) == 3


def test_a_plan_says_what_it_promotes_and_what_it_forces(capsys: pytest.CaptureFixture[str]) -> None:
    print_promotion({"promotion": PROMOTION, "forced": {"reason": "hotfix", "overrides": ["the gate", "a\nb"]}})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == promotion_text(PROMOTION).splitlines() and lines[3:] == ["forced: the gate", "forced: a\ufffdb"]
    print_promotion({"promotion": None, "forced": None})
    assert capsys.readouterr().out == ""
