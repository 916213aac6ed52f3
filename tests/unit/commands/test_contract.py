"""Which images a stack's contracts are checked of."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import make_project

from canaryctl.commands.contract import check_images
from canaryctl.errors import ConfigError


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path)


def test_an_image_that_the_stack_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="'wbe'") as refused:
        check_images(None, ["wbe"], None, {})
    assert refused.value.where == "stack.yml" and "web" in refused.value.hint


def test_a_variant_that_the_stack_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="other"):
        check_images(None, [], "other", {})


def test_another_stack_file_may_be_named() -> None:
    with pytest.raises(ConfigError) as refused:
        check_images("elsewhere.yml", [], None, {})
    assert "elsewhere.yml" in str(refused.value)
