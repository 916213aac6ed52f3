"""Versions as programs and distributions name them."""

from __future__ import annotations

import pytest
from packaging.version import Version

from canaryctl.config.versions import version_of


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("v26.1.5+dfsg1", "26.1.5"),
        ("2.39.0+ds1-0ubuntu1~24.04.1", "2.39.0"),
        ("24.0.7-0ubuntu2", "24.0.7"),
        ("v2.24.6-desktop.1", "2.24.6"),
        ("525.60.13", "525.60.13"),
        ("22.04", "22.4"),
        ("", "0"),
        ("trixie/sid", "0"),
        ("9" * 5000, "9" * 9),
    ],
)
def test_the_numbers_are_what_is_compared(text: str, numbers: str) -> None:
    assert version_of(text) == Version(numbers)


def test_numbers_are_no_texts_and_zeros_at_the_end_do_not_count() -> None:
    assert version_of("2.9") < version_of("2.20") == version_of("2.20.0") < version_of("2.20.1")
