"""Secrets with another value, and the services that they start again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from planned import USING

from canaryctl.facts.host import HostFacts, StateFacts
from canaryctl.plan.rotation import compare_secrets, rotation_reason, secrets_reason


def host(**state: Any) -> HostFacts:
    return HostFacts("one", state=StateFacts(secrets="mac", **state))


def test_each_secret_stands_in_one_of_four_ways() -> None:
    compared = compare_secrets({"A": "1", "B": "2", "C": "3"}, {"A": "1", "B": "x", "D": "4"})
    assert compared == {"A": "same", "B": "differs", "C": "missing", "D": "extra"}


@pytest.mark.parametrize(
    ("there", "names"),
    [
        ({"DB": "1", "JWT": "2"}, ""),  # only the file's form differs
        ({"DB": "x", "JWT": "2"}, "DB"),
        ({"JWT": "2"}, "DB"),
        ({"DB": "1", "JWT": "2", "OLD": "3"}, "OLD"),
    ],
)
def test_the_reason_names_the_secrets(there: dict[str, str], names: str) -> None:
    reason = secrets_reason(USING, host(secret_macs=there))
    assert [name for name in ("DB", "JWT", "OLD") if name in reason] == names.split()


@pytest.mark.parametrize(
    ("state", "started"),
    [
        ({"secret_macs": {"DB": "1", "JWT": "2"}}, []),
        ({"secret_macs": {"DB": "1", "JWT": "x"}}, ["web"]),
        ({"secret_macs": {"DB": "x", "JWT": "2"}}, ["db", "web"]),
        ({"secret_macs": {"DB": "1", "JWT": "2", "OLD": "3"}}, []),
        ({"secret_macs": {"DB": "1", "JWT": "2"}, "secrets_unused": ("JWT",)}, ["web"]),
    ],
)
def test_services_start_again_that_use_one_with_another_value(state: dict[str, Any], started: list[str]) -> None:
    assert [service for service in ("db", "web") if rotation_reason(service, USING, host(**state))] == started


def test_where_there_are_no_secrets_nothing_starts_for_them() -> None:
    differs = host(secret_macs={"DB": "x", "JWT": "x"})
    assert rotation_reason("web", replace(USING, secrets=None), differs) == ""
    nothing = HostFacts("one", state=StateFacts(secret_macs={"DB": "x"}))
    assert rotation_reason("web", USING, nothing) == ""
