"""Waves: which hosts start together, which are the gate, how many may fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from canaryctl.config.environment import Environment, Host
from canaryctl.config.policy import Policy, load_policies
from canaryctl.errors import ConfigError
from canaryctl.plan.waves import make_waves, too_many

ONE = {"all": ["a", "b", "c", "d", "e", "f", "g", "h"]}
THREE = {"core": ["k"], "cpu": ["c1", "c2", "c3"], "gpu": ["g1", "g2"]}
FLEET = ["k", "c1", "c2", "c3", "g1", "g2"]


def cut(hosts: list[str] | str, groups: dict[str, list[str]], *serial: int | str) -> list[str]:
    """The waves as words, a gate with a colon behind it."""
    return [" ".join(wave.hosts) + (":" if wave.gate else "") for wave in make_waves(list(hosts), groups, serial)]


@pytest.mark.parametrize(
    ("hosts", "groups", "serial", "waves"),
    [
        (FLEET, THREE, (), ["k c1 c2 c3 g1 g2"]),
        (FLEET, THREE, (1,), ["k c1 g1:", "c2", "c3", "g2"]),
        (FLEET, THREE, (2,), ["k c1 g1:", "c2 c3", "g2"]),
        (FLEET, THREE, ("100%",), ["k c1 g1:", "c2 c3 g2"]),
        ("abcdefgh", ONE, (1,), ["a:", *"bcdefgh"]),
        ("abcdefgh", ONE, (3,), ["a:", "b c d", "e f g", "h"]),
        ("abcdefgh", ONE, ("25%",), ["a:", "b c", "d e", "f g", "h"]),
        ("abcdefgh", ONE, ("1%",), ["a:", *"bcdefgh"]),
        ("abcdefgh", ONE, (1, "50%", "100%"), ["a:", "b c d e", "f g h"]),
        ("abcdefgh", ONE, (1, 2, 3), ["a:", "b c", "d e f", "g h"]),
        ("abcdefgh", ONE, (1, 1), ["a:", *"bcdefgh"]),
    ],
)
def test_the_first_of_each_group_are_the_gate_and_the_others_follow_in_their_order(
    hosts: list[str], groups: dict[str, list[str]], serial: tuple[int | str, ...], waves: list[str]
) -> None:
    assert cut(hosts, groups, *serial) == waves


def test_hosts_of_groups_placed_first_start_first() -> None:
    assert cut(["g2", "g1", "c2", "c1", "k"], THREE, 1) == ["k c1 g1:", "c2", "g2"]


def test_a_host_in_several_groups_is_the_first_of_each() -> None:
    assert cut("kc", {"core": ["k"], "cpu": ["k", "c"]}, 1) == ["k:", "c"]


def test_of_a_group_whose_first_host_needs_no_start_the_next_is_in_the_gate() -> None:
    assert cut(["c2", "c3"], THREE, 1) == ["c2:", "c3"]


def test_hosts_that_are_all_first_of_their_group_are_no_gate() -> None:
    assert cut(["k", "c1", "g1"], THREE, 1) == ["k c1 g1"]


def test_a_group_without_hosts_changes_nothing() -> None:
    assert cut("ab", {"all": ["a", "b"], "gpu": []}, 1) == ["a:", "b"]


@pytest.mark.parametrize(
    ("failed", "hosts", "percentage", "stops"),
    [
        (0, 4, 0, False),
        (1, 4, 0, True),
        (1, 4, 24, True),
        (1, 4, 25, False),
        (3, 4, 75, False),
        (4, 4, 100, True),
        (1, 1, 100, True),
    ],
)
def test_more_failures_than_the_percentage_stop_the_deploy(
    failed: int, hosts: int, percentage: float, stops: bool
) -> None:
    assert too_many(failed, hosts, percentage) is stops


def policy(**variables: Any) -> Policy:
    host = Host("one", ("all",), {f"canary_{name}": value for name, value in variables.items()})
    return load_policies(Environment("prod", Path("prod"), {"one": host}, {"all": ("one",)}))["one"]


def test_without_variables_all_start_at_once_and_none_may_fail() -> None:
    assert (policy().serial, policy().max_fail_percentage) == ((), 0.0)


@pytest.mark.parametrize(
    ("given", "serial"),
    [(1, (1,)), ("3", (3,)), ("25%", ("25%",)), ([1, "50%", "100%"], (1, "50%", "100%")), (["010%"], ("10%",))],
)
def test_serial_is_what_ansible_takes(given: Any, serial: tuple[int | str, ...]) -> None:
    assert policy(serial=given).serial == serial


@pytest.mark.parametrize("given", [0, -1, "0%", "101%", "half", [], [1, "x"], True, 1.5, {"a": 1}])
def test_another_serial_is_refused_with_an_example(given: Any) -> None:
    with pytest.raises(ConfigError, match="canary_serial of one") as refused:
        policy(serial=given)
    assert '"25%"' in refused.value.hint


@pytest.mark.parametrize("given", [-1, 101, "20%", True, [5]])
def test_a_percentage_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="canary_max_fail_percentage of one"):
        policy(max_fail_percentage=given)


def test_a_percentage_is_a_number() -> None:
    assert policy(max_fail_percentage=20).max_fail_percentage == 20.0
