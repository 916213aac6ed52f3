"""The contract in the stack file: short and long forms, and how faults are told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from canaryctl.config.contract import Contract, Pattern


def read(**contract: Any) -> Contract:
    return Contract.model_validate(contract)


def test_modules_and_commands_may_be_short_or_say_where_they_run() -> None:
    contract = read(
        modules={"present": ["fastapi", {"name": "cupy", "where": "gpu"}], "absent": ["torch"]},
        commands=["true", {"run": ["nvidia-smi", "-L"], "where": "gpu", "timeout": "10s"}],
    )
    assert [(module.name, module.where) for module in contract.modules.present] == [
        ("fastapi", "here"),
        ("cupy", "gpu"),
    ]
    assert contract.commands[0].run == "true" and contract.commands[1].run == ("nvidia-smi", "-L")
    assert contract.commands[1].timeout == 10
    assert contract.gpu_checks == ("module cupy present", "command nvidia-smi -L")


def test_a_contract_without_gpu_checks_needs_none() -> None:
    assert not read(modules={"present": ["fastapi"]}, commands=["true"]).needs_gpu


def test_ports_are_tcp_unless_they_say_otherwise_and_none_is_a_promise_too() -> None:
    assert read(ports=[8000, "53/udp"]).ports == ("8000/tcp", "53/udp")
    assert read(ports=[]).ports == ()
    assert read().ports is None


def test_a_uid_may_be_a_number() -> None:
    assert read(user=10001).user == "10001"


def test_a_label_is_a_value_or_a_pattern() -> None:
    labels = read(labels={"a": "b", "revision": {"regex": "[0-9a-f]{40}"}}).labels
    assert labels == {"a": "b", "revision": Pattern(regex="[0-9a-f]{40}")}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"modules": {"present": ["import os"]}}, "not a Python module"),
        ({"modules": {"present": [{"name": "os", "where": "host"}]}}, "'here' or 'gpu'"),
        ({"platform": "amd64"}, "not a platform"),
        ({"ports": [70000]}, "not a port"),
        ({"labels": {"a": {"regex": "("}}}, "not a regular expression"),
        ({"labels": {"a": {"regex": "a{99999999999}"}}}, "not a regular expression"),
        ({"labels": {"a": {"regex": "(" * 5000}}}, "not a regular expression"),
        ({"commands": [""]}, "at least 1 character"),
        ({"commands": [{"run": "true", "timeout": 5}]}, "not a duration"),
        ({"memory": "1kB"}, "greater than or equal"),
        ({"module": {}}, "not permitted"),
    ],
)
def test_each_fault_is_told(fault: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        read(**fault)
