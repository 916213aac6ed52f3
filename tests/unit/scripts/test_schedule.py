"""Files of tests/lab and the labs they are given."""

from __future__ import annotations

import ast
import re

import pytest
import schedule

from canaryctl.lab import DEFAULT_HOSTS

FILES = sorted(str(path.relative_to(schedule.ROOT)) for path in (schedule.ROOT / "tests" / "lab").glob("test_*.py"))
HOST = re.compile(f'"({"|".join(DEFAULT_HOSTS[1:])})"')


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_names_a_second_host_is_given_a_whole_lab(file: str) -> None:
    named = HOST.findall((schedule.ROOT / file).read_text())
    assert schedule.needs_whole_lab(file) or not named


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_takes_the_example_is_known_to_deploy_it(file: str) -> None:
    functions = [n for n in ast.walk(ast.parse((schedule.ROOT / file).read_text())) if isinstance(n, ast.FunctionDef)]
    taken = {argument.arg for function in functions for argument in function.args.args}
    assert schedule.serves_example(file) or not taken & {"canary", "example"}


def test_the_example_is_for_the_first_worker_and_other_whole_labs_rather_for_the_second() -> None:
    example, story, whole, single, unit = (
        "tests/lab/test_deploy.py",
        "tests/lab/test_story.py",
        "tests/lab/test_liar.py",
        "tests/lab/test_rollback.py",
        "tests/unit/scripts/test_schedule.py",
    )

    def order(place: int) -> list[str]:
        able = [file for file in (unit, single, whole, story, example) if schedule.suits(file, place) >= 0]
        return sorted(able, key=lambda file: -schedule.suits(file, place))

    assert order(0) == [example, story, whole, unit, single]
    assert order(1) == [whole, unit, single, story, example]
    assert order(2) == order(3) == [unit, single]


def test_times_are_of_files_that_are_there() -> None:
    times = schedule.times()
    assert set(FILES) - set(times) == set(), "time it: --record-times"
    assert all(seconds > 0 for seconds in times.values())
