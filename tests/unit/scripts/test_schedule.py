"""Files of tests/lab and the labs they are given."""

from __future__ import annotations

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


def test_times_are_of_files_that_are_there() -> None:
    times = schedule.times()
    assert set(FILES) - set(times) == set(), "time it: --record-times"
    assert all(seconds > 0 for seconds in times.values())
