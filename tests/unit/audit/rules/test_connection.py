"""Who gets in, and why a host could not be looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from audited import MINE, audited, facts

from canaryctl.audit.rules import connection
from canaryctl.audit.rules.connection import password_login, root_login, sudo_refused
from canaryctl.audit.severity import Severity
from canaryctl.errors import HostError

CAUSES = {
    "": connection.unreachable,
    "timeout": connection.unreachable,
    "host-key-unknown": connection.host_key_unpinned,
    "host-key-changed": connection.host_key_changed,
    "python": connection.python_missing,
    "agent": connection.agent_failed,
}


@pytest.mark.parametrize("reason", [*CAUSES, "sudo"])
def test_each_failure_is_of_one_rule_and_keeps_its_hint(reason: str) -> None:
    failure = HostError("it failed", "one", "do this", reason=reason)
    found = {rule: list(rule(failure, MINE)) for rule in CAUSES.values()}
    assert {rule for rule, some in found.items() if some} == ({CAUSES[reason]} if reason in CAUSES else set())
    assert all(one.fix == "do this" and one.what == "it failed" for some in found.values() for one in some)


@pytest.mark.parametrize(
    ("become", "reason", "words"),
    [
        ("sudo", "", []),
        ("none", "", []),
        ("refused", "", ["no reason given"]),
        ("refused", "We trust you\nsudo: a password is required", ["sudo: a password is required"]),
    ],
)
def test_a_refused_sudo_says_the_last_word(become: str, reason: str, words: list[str]) -> None:
    found = [one.what for one in sudo_refused(facts({"become": become, "become_reason": reason}), MINE)]
    assert len(found) == len(words) and all(word in what for word, what in zip(words, found, strict=True))


@pytest.mark.parametrize(
    ("sshd", "variables", "subjects"),
    [
        ({"passwordauthentication": "no"}, {}, []),
        ({}, {}, []),
        ({"passwordauthentication": "yes", "kbdinteractiveauthentication": "yes"}, {}, ["sshd"]),
        ({"kbdinteractiveauthentication": "yes"}, {"ansible_ssh_pass": "x"}, ["sshd", "inventory"]),
        ({}, {"ansible_password": ""}, []),
    ],
)
def test_passwords_that_sshd_takes_or_the_inventory_gives(
    sshd: dict[str, str], variables: dict[str, Any], subjects: list[str]
) -> None:
    host = replace(MINE, variables=variables)
    assert [one.subject for one in password_login(facts(audited(sshd=sshd)), host)] == subjects


@pytest.mark.parametrize(
    ("permitted", "variables", "found"),
    [
        ("no", {"ansible_user": "ops"}, []),
        ("yes", {}, [("sshd", None)]),
        ("prohibit-password", {}, [("sshd", Severity.INFO)]),
        ("forced-commands-only", {}, []),
        ("no", {"ansible_ssh_user": "root"}, [("inventory", None)]),
    ],
)
def test_root_that_may_log_in(permitted: str, variables: dict[str, Any], found: list[Any]) -> None:
    seen = facts(audited(sshd={"permitrootlogin": permitted}))
    assert [(one.subject, one.severity) for one in root_login(seen, replace(MINE, variables=variables))] == found
