"""Inventory and stack as they are written: where a rule says nothing matters as much as where it speaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from audited import MINE

from canaryctl.audit.inventory import Inventory, InventoryFile, read_inventory
from canaryctl.audit.model import ConfigIssue, Setup
from canaryctl.audit.rules.configuration import (
    group_name_typo,
    host_in_no_group,
    plain_secret,
    secrets_missing,
    stack_invalid,
    variable_shadowed,
    variable_undefined,
)
from canaryctl.audit.severity import Severity

HOSTS = InventoryFile("hosts.yml", "hosts.yml", "servers: {hosts: {one: }}\nworkers: {hosts: {one: , two: }}\n")


def setup(**files: str) -> Setup:
    """Files of an inventory; `__` stands for a slash."""
    paths = {name.replace("__", "/") + ".yml": text for name, text in files.items()}
    return Setup(
        "prod",
        inventory=read_inventory([HOSTS, *(InventoryFile(path, path, text) for path, text in paths.items())]),
        hosts={"one": MINE, "two": replace(MINE, name="two", groups=("workers",))},
        groups={"all": ("one", "two"), "servers": ("one",), "workers": ("one", "two")},
        placement={"servers": ("web",)},
    )


@pytest.mark.parametrize(
    ("where", "file", "line"),
    [("stack.yml:7", "stack.yml", 7), ("stack.yml", "stack.yml", 0), ("", "", 0), ("a:b:3", "a:b", 3)],
)
def test_an_issue_is_of_its_own_rule_and_keeps_its_place(where: str, file: str, line: int) -> None:
    made = replace(setup(), issues=(ConfigIssue("stack", "it is wrong", where, "fix it"),))
    (found,) = stack_invalid(made)
    assert (found.what, found.fix, found.file, found.line) == ("it is wrong", "fix it", file, line)
    assert not list(secrets_missing(made))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("db_password: hunter2\n", ["all.db_password"]),
        ("db_password: 1234\n", ["all.db_password"]),
        ("max_tokens: 4096\n", []),
        ("api_token: 4096\n", []),
        ("api_token: abc\n", ["all.api_token"]),
        ("token_file: /run/token\n", []),
        ("registry: {user: me, password: x}\n", ["all.registry.password"]),
        ("password: '{{ from_vault }}'\n", []),
        ("password: ''\nsecret: none\ntoken: 'no'\n", []),
        ("password: !vault x\n", []),
        ("note: |\n  -----BEGIN OPENSSH PRIVATE KEY-----\n", ["all.note"]),
        ("canary_secrets: {A: plain, B: {file: /run/b}, C: {env: C}}\n", ["all.canary_secrets.A"]),
    ],
)
def test_a_secret_is_told_by_the_name_its_value_goes_by(text: str, names: list[str]) -> None:
    assert [found.subject for found in plain_secret(setup(group_vars__all=text))] == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a: '{{ b }}'\nb: 1\n", []),
        ("a: '{{ missing }}'\n", ["missing"]),
        ("a: ['{{ one_gone }}', {k: '{{ two_gone }}'}]\n", ["one_gone", "two_gone"]),
        ("a: \"{{ missing | default('') }}\"\n", []),
        ("a: '{{ ansible_facts }} {{ inventory_hostname }} {{ groups.all }}'\n", []),
        ("a: '{% if x is defined %}{{ x }}{% endif %}'\n", []),
    ],
)
def test_a_name_is_undefined_where_nothing_gives_it_and_nothing_forgives(text: str, names: list[str]) -> None:
    found = variable_undefined(setup(group_vars__all=text))
    assert [one.subject.rpartition(".")[2] for one in found] == names


def test_a_misspelt_name_is_answered_with_the_one_that_is_meant() -> None:
    (found,) = variable_undefined(setup(group_vars__all="base_dir: /srv\na: '{{ base_dri }}'\n"))
    assert "base_dir" in found.fix and found.line == 2


@pytest.mark.parametrize(
    ("files", "severities"),
    [
        ({"group_vars__all": "p: 1\n", "group_vars__servers": "p: 1\n"}, []),
        ({"group_vars__all": "p: 1\n", "group_vars__servers": "p: 2\n"}, [Severity.INFO]),
        ({"group_vars__servers": "p: 1\n", "host_vars__one": "p: 2\n"}, [Severity.INFO]),
        ({"group_vars__servers": "p: 1\n", "host_vars__two": "p: 2\n"}, []),
        ({"group_vars__servers": "p: 1\n", "group_vars__workers": "p: 2\n"}, [None]),
        ({"group_vars__all__a": "p: 1\n", "group_vars__all__b": "p: 2\n"}, [None]),
        (
            {
                "group_vars__servers": "ansible_group_priority: 1\n",
                "group_vars__workers": "ansible_group_priority: 2\n",
            },
            [],
        ),
    ],
)
def test_only_places_of_one_rank_shadow_each_other(files: dict[str, str], severities: list[Severity | None]) -> None:
    assert [found.severity for found in variable_shadowed(setup(**files))] == severities


@pytest.mark.parametrize(
    ("groups", "placement", "found"),
    [
        (("servers",), {"servers": ("web",)}, []),
        ((), {"servers": ("web",)}, ["one"]),
        (("all", "ungrouped"), {"servers": ("web",)}, ["one"]),
        ((), {"all": ("web",)}, []),
    ],
)
def test_a_host_in_no_group_that_counts(
    groups: tuple[str, ...], placement: dict[str, tuple[str, ...]], found: list[str]
) -> None:
    made = Setup("prod", hosts={"one": replace(MINE, groups=groups)}, placement=placement)
    assert [one.host for one in host_in_no_group(made)] == found


@pytest.mark.parametrize(
    ("made", "subjects"),
    [
        (setup(), []),
        (replace(setup(), placement={"server": ("web",)}), ["server"]),
        (replace(setup(), placement={"database": ("web",)}), []),  # placement-impossible says it
        (setup(group_vars__sevrers="p: 1\n"), ["sevrers"]),
        (setup(host_vars__thre="p: 1\n"), ["thre"]),
        (setup(group_vars__all="p: 1\n", host_vars__two="p: 1\n"), []),
        (replace(setup(group_vars__sevrers="p: 1\n"), groups={}), []),  # no inventory to hold it against
        (replace(setup(), inventory=Inventory()), []),
    ],
)
def test_names_that_are_nearly_others(made: Setup, subjects: list[str]) -> None:
    assert [found.subject for found in group_name_typo(made)] == subjects
