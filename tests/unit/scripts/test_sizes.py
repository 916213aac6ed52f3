"""The lint rule for sizes: limits are met to the line, and what is over them is named."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import rolemodules

SCRIPT = Path(__file__).parents[3] / "scripts" / "sizes.py"
PLAIN = Path("canaryctl/plan/some.py")
PARAMETERS = "abcdefghi"


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = rolemodules.load(SCRIPT, "sizes")
    monkeypatch.delitem(sys.modules, "sizes")
    return module


@pytest.mark.parametrize(("lines", "found"), [(350, []), (351, [f"{PLAIN}: 351 lines"])])
def test_a_module_has_at_most_350_lines(sizes: ModuleType, lines: int, found: list[str]) -> None:
    assert list(sizes.too_large(PLAIN, "x = 1\n" * lines)) == found


@pytest.mark.parametrize(("lines", "found"), [(60, []), (61, [f"{PLAIN}: tell has 61 lines"])])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_function_has_at_most_60_lines_below_its_first(
    sizes: ModuleType, kind: str, lines: int, found: list[str]
) -> None:
    assert list(sizes.too_large(PLAIN, f"{kind} tell():\n" + "    x = 1\n" * lines)) == found


@pytest.mark.parametrize(
    "parameters",
    [", ".join(PARAMETERS), "*, " + ", ".join(PARAMETERS), "a, /, " + ", ".join(PARAMETERS[1:])],
)
def test_a_function_has_at_most_8_parameters(sizes: ModuleType, parameters: str) -> None:
    nine, eight = f"def tell({parameters}): ...", f"def tell({parameters.removesuffix(', i')}): ..."
    assert list(sizes.too_large(PLAIN, nine)) == [f"{PLAIN}: tell has 9 parameters"]
    assert list(sizes.too_large(PLAIN, eight)) == []


def test_a_command_has_as_many_parameters_as_options(sizes: ModuleType) -> None:
    assert list(sizes.too_large(Path("canaryctl/cli/some.py"), f"def tell({', '.join(PARAMETERS)}): ...")) == []


def test_methods_and_functions_within_functions_count(sizes: ModuleType) -> None:
    text = "class Some:\n    def tell(self):\n        def inner():\n" + "            x = 1\n" * 61
    assert list(sizes.too_large(PLAIN, text)) == [f"{PLAIN}: tell has 62 lines", f"{PLAIN}: inner has 61 lines"]


def test_files_are_found_where_code_is(sizes: ModuleType, tmp_path: Path) -> None:
    for place in ("canaryctl/plan", "roles/some/library", "tests/unit"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "some.py").write_text("x = 1\n" * 400)
    assert sizes.faults(tmp_path) == ["canaryctl/plan/some.py: 400 lines", "roles/some/library/some.py: 400 lines"]
