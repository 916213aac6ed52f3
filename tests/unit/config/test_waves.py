"""`canary_serial` and `canary_max_fail_percentage` as inventories write them."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.config.environment import Host
from canaryctl.config.waves import read_waves
from canaryctl.errors import ConfigError


def read(**variables: Any) -> dict[str, Any]:
    return read_waves(Host("one", (), variables), "inventories/prod")


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        (1, (1,)),
        ("2", (2,)),
        (" 25% ", ("25%",)),
        ("007%", ("7%",)),
        ([1, "50%", "100%"], (1, "50%", "100%")),
        ((3,), (3,)),
    ],
)
def test_sizes_are_numbers_or_shares(given: Any, sizes: tuple[int | str, ...]) -> None:
    assert read(canary_serial=given) == {"serial": sizes}


@pytest.mark.parametrize("given", [0, -1, True, 1.5, "0%", "101%", "1e3", "٣", "", [], [1, None], {"a": 1}])
def test_what_ansible_would_not_take_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        read(canary_serial=given)
    assert "canary_serial of one" in caught.value.what and caught.value.where == "inventories/prod"


@pytest.mark.parametrize("given", [0, 33.3, 100])
def test_a_share_of_failures_may_be_any_up_to_all(given: float) -> None:
    assert read(canary_max_fail_percentage=given) == {"max_fail_percentage": float(given)}


@pytest.mark.parametrize("given", [-1, 100.1, True, "10", float("nan")])
def test_any_other_share_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="canary_max_fail_percentage of one"):
        read(canary_max_fail_percentage=given)


def test_where_nothing_is_set_the_policy_keeps_its_defaults() -> None:
    assert read() == {}
