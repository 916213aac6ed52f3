"""What commands differ in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canaryctl.deploy.command import (
    COLLECT,
    DEPLOY,
    DOWN,
    PLAN,
    PROBE,
    PROVISION,
    ROLLBACK,
    STAGES,
    Command,
)

ALL = (DEPLOY, PROVISION, PROBE, COLLECT, DOWN, ROLLBACK, PLAN, *STAGES.values())


def named(choice: str) -> set[str]:
    """Names of the commands for which something is so."""
    return {command.name for command in ALL if getattr(command, choice)}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("notifies", {"deploy", "rollback"}),
        ("checks_contracts", {"deploy", "push"}),
        ("carries_operations", {"deploy"}),
        ("shows_diff", {"render"}),
        ("adds_only", {"push"}),
        ("is_baseline", set()),
    ],
)
def test_which_commands_do_more(choice: str, names: set[str]) -> None:
    assert named(choice) == names


def test_what_takes_back_and_what_stops_has_nothing_to_take_back() -> None:
    assert {command.name for command in ALL if not command.follows_policy} == {"rollback", "down"}


def test_every_command_has_its_own_name_in_the_record() -> None:
    assert len({command.name for command in ALL}) == len(ALL)
    assert all(STAGES[name].name == name for name in ("push", "render", "migrate", "start"))


def test_the_roles_of_two_deploys_that_are_compared() -> None:
    assert replace(DEPLOY, role="baseline").is_baseline and not replace(DEPLOY, role="candidate").is_baseline
    assert replace(DEPLOY, role="candidate").follows_policy and not Command("x").is_baseline
