"""What goes to Ansible: whatever it is, it is data."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from fuzzing import LOOKUP, every_string, fuzzed, mutations
from hypothesis import strategies as st

from canaryctl.ansible.variables import variables_file
from canaryctl.config.pins import TEMPLATES
from canaryctl.config.stack import Stack
from canaryctl.errors import ApplyError

VARIABLES = {
    "canary_stack": "toy",
    "canary_hosts": {"one": {"become": True, "release": "r", "replaces": ["x"], "created": {"files": ["f"]}}},
    "canary_migration": {"upgrade": "up", "database": ["db"], "marker": {"images": {"db": "i"}}, "timeout": 5.5},
    "canary_locks": {"one": [{"path": "/p", "token": "t"}]},
}
STACK = {
    "stack": "toy",
    "images": {"web": {"tag": "web:1"}},
    "variants": {"only": {"web": "web"}},
    "placement": {"all": ["web"]},
    "compose": "compose.yml.j2",
    "migrations": {
        "service": "web", "upgrade": "up", "current": "now", "heads": "heads", "database": "web", "backup": "web",
        "backup_database": "d", "backup_user": "u",
    },
}  # fmt: skip


def require_marks(value: Any) -> None:
    """Every string but keys stands alone in a marked object."""
    if isinstance(value, dict):
        if set(value) == {"__ansible_unsafe"}:
            assert isinstance(value["__ansible_unsafe"], str)
            value["__ansible_unsafe"].encode()
            return
        for key, item in value.items():
            key.encode()
            assert not key.startswith("__ansible"), key
            require_marks(item)
    elif isinstance(value, list):
        for item in value:
            require_marks(item)
    else:
        assert not isinstance(value, str), value


def written(variables: Any) -> None:
    text = variables_file(variables)
    document = json.loads(text)
    require_marks({key: value for key, value in document.items() if key not in TEMPLATES})
    if document:
        with pytest.raises(yaml.YAMLError):
            yaml.safe_load(text)


@fuzzed(st.one_of(mutations(VARIABLES), mutations({"canary_hosts": {"__ansible_unsafe": {"__ansible_vault": "x"}}})))
def test_every_string_of_whatever_is_passed_is_marked(value: Any) -> None:
    if isinstance(value, dict):
        written({str(key): item for key, item in value.items()})


@pytest.mark.parametrize(
    "variables", [{"__ansible_vault": {"a": "b"}}, {"canary_hosts": {"__ansible_unsafe": "{{ x }}"}}]
)
def test_no_name_that_ansible_reads_as_a_mark_of_its_own(variables: dict[str, Any]) -> None:
    with pytest.raises(ApplyError):
        variables_file(variables)


def test_a_lookup_in_any_string_of_a_stack_is_marked() -> None:
    taken = 0
    for _, document in every_string(STACK, LOOKUP):
        try:
            stack = Stack.model_validate(document)
        except ValueError:
            continue
        taken += 1
        migrations = stack.migrations
        assert migrations is not None
        written({"canary_stack": stack.stack, "canary_migration": migrations.model_dump(mode="json")})
    assert taken > 4  # its commands are free text
