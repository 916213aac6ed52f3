"""Names that a host tells of, as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from canaryctl.facts.names import (
    container_id,
    image_id,
    plain_name,
    project_name,
    reference_name,
    release_directory,
)

NO_NAME = (None, 5, "", ["a"], "--rm", "../x", "/x", "a b", "a\n", "*", "{{ x }}", "a" * 600)


@pytest.mark.parametrize(
    ("fits", "good", "bad"),
    [
        (project_name, ("shop-canary", "a_1"), ("Shop", "_a", "a.b")),
        (plain_name, ("web", "Web.1_a-b", "v" * 255), ("a/b", "a:b", ".a")),
        (container_id, ("a" * 12, "0f" * 32), ("a" * 11, "a" * 65, "A" * 12)),
        (image_id, ("sha256:" + "a" * 64,), ("a" * 64, "sha256:" + "a" * 63, "sha256:" + "A" * 64)),
        (reference_name, ("web", "reg:5000/a/b:1", "a@sha256:" + "0" * 64, "a.b/c:d_1"), (":a", "@a")),
        (
            release_directory,
            ("a" * 64 + "-" + "0" * 8,),
            ("a" * 64, "a" * 63 + "-" + "0" * 8),
        ),
    ],
)
def test_what_a_name_can_be(fits: Callable[[Any], bool], good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    assert all(map(fits, good)) and not any(map(fits, (*bad, *NO_NAME)))
