"""What `canaryctl build` refuses before it builds."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import ctl, make_project

from canaryctl.commands.build import build
from canaryctl.errors import ConfigError


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_SUCH", raising=False)
    return make_project(tmp_path)


@pytest.mark.parametrize(
    ("names", "arguments", "where"),
    [(["wbe"], [], "stack.yml"), ([], ["NO_SUCH"], "--build-arg"), (["web"], ["A=1", "NO_SUCH"], "--build-arg")],
)
def test_an_unknown_image_and_a_variable_that_is_not_there(names: list[str], arguments: list[str], where: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build(None, names, arguments, print)
    assert refused.value.where == where


def test_where_nothing_can_be_built_nothing_is() -> None:
    assert ctl("build", "--output", "json").document == {"images": {}}
