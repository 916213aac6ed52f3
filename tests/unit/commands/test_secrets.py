"""How a secret stands on a host."""

from __future__ import annotations

import pytest

from canaryctl.commands.secrets import ComparedSecret, compared
from canaryctl.facts.programs import HeldSecret


@pytest.mark.parametrize(
    ("wanted", "unknown", "held", "status"),
    [
        ({"T": "m1"}, set(), {"T": HeldSecret("m1", "f1")}, "same"),
        ({"T": "m1"}, set(), {"T": HeldSecret("m2", "f2")}, "differs"),
        ({"T": "m1"}, set(), {}, "missing"),
        ({}, set(), {"T": HeldSecret("m2", "f2")}, "extra"),
        ({}, {"T"}, {"T": HeldSecret("m2", "f2")}, "unknown"),
        ({}, {"T"}, {}, "unknown"),
    ],
)
def test_a_secret_stands_by_its_digest(
    wanted: dict[str, str], unknown: set[str], held: dict[str, HeldSecret], status: str
) -> None:
    here = dict.fromkeys(wanted, "f1")
    there = held["T"].fingerprint if held else ""
    assert compared(wanted, here, unknown, held) == [ComparedSecret("T", status, here.get("T", ""), there)]


def test_secrets_are_in_the_order_of_their_names() -> None:
    rows = compared({"B": "m"}, {"B": "f"}, {"C"}, {"A": HeldSecret("m", "f")})
    assert [row.name for row in rows] == ["A", "B", "C"]
