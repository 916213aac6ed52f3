"""What users write."""

from __future__ import annotations

from fuzzing import fuzzed
from hypothesis import strategies as st

from canaryctl.config.durations import parse_duration, show_duration


@fuzzed(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.booleans()), allowed=(ValueError,))
def test_duration(value: object) -> None:
    show_duration(parse_duration(value))
