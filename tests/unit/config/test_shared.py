"""What has one value for the whole environment, and where each host's root may lie."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from canaryctl.config.environment import Environment, load_environment
from canaryctl.config.policy import Policy, load_policies
from canaryctl.config.project import Project
from canaryctl.config.shared import PER_HOST, UNSHOWN, require_one_policy
from canaryctl.errors import ConfigError


@pytest.fixture
def environment(tmp_path: Path) -> Any:
    """An environment of two hosts with these variables of their own."""

    def make(a: dict[str, Any], b: dict[str, Any]) -> Environment:
        folder = tmp_path / "inventories" / "prod"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"a": a, "b": b}}}))
        project = Project(tmp_path, tmp_path / "stack.yml", tmp_path / "inventories", tmp_path / "runs")
        return load_environment(project, "prod")

    return make


def refused(environment: Environment, *placed: str) -> str:
    with pytest.raises(ConfigError) as raised:
        require_one_policy(environment, load_policies(environment), placed or ("a", "b"))
    assert raised.value.where
    return raised.value.what


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ({}, {"canary_on_failure": "keep"}, "canary_on_failure .* rollback on a; keep on b"),
        ({"canary_simulated": "refuse"}, {}, "canary_simulated .* refuse on a; allow on b"),
        ({"canary_max_age": "1d"}, {"canary_max_age": "2d"}, "canary_max_age .* 86400 on a; 172800 on b"),
        ({}, {"canary_gates": ["x", "y"]}, r"canary_gates .* \[\] on a; \[x, y\] on b"),
        ({}, {"canary_soak": "1m"}, "canary_soak .* 0 on a; 60 on b"),
        ({}, {"canary_serial": 1}, "canary_serial"),
        ({}, {"canary_promotes_from": "first"}, "canary_promotes_from .* none on a; first on b"),
        ({}, {"canary_inconclusive": "pass"}, "canary_inconclusive"),
    ],
)
def test_hosts_that_differ_in_the_environments_policy_are_refused(
    a: dict[str, Any], b: dict[str, Any], said: str, environment: Any
) -> None:
    assert re.search(said, refused(environment(a, b)))


def test_secret_values_are_not_shown(environment: Any) -> None:
    a, b = {"canary_secrets": {"TOKEN": "hunter2"}}, {"canary_secrets": {"TOKEN": "hunter3"}}
    said = refused(environment(a, b))
    assert "canary_secrets" in said and "on a" in said and "on b" in said and "hunter" not in said
    assert "none on b" in refused(environment({"canary_webhook": "https://x.example/t0ken"}, {}))


def test_the_same_value_in_other_words_is_no_difference(environment: Any) -> None:
    found = environment({"canary_on_failure": "rollback", "canary_soak": "60s"}, {"canary_soak": "1m"})
    require_one_policy(found, load_policies(found), ("a", "b"))


def test_hosts_without_services_and_what_each_host_has_for_itself_are_let_be(environment: Any) -> None:
    found = environment({}, {"canary_on_failure": "keep"})
    require_one_policy(found, load_policies(found), ("a",))
    own = {"canary_provision": "never", "canary_delivery": "pull", "canary_root": "/srv/canary", "canary_busy": "wait"}
    found = environment({}, {**own, "canary_gpu_devices": 1, "canary_disposable": True})
    require_one_policy(found, load_policies(found), ("a", "b"))
    assert found.hosts["b"].root == "/srv/canary" and found.hosts["a"].root == "/opt/canaryctl"


def test_every_variable_of_a_policy_is_documented_as_one_or_the_other() -> None:
    text = (Path(__file__).parents[3] / "docs" / "environments.md").read_text()
    own = text[text.index("Of these each host may have for itself") :].split("The others have")[0]
    fields = {field.name for field in dataclasses.fields(Policy)}
    assert fields >= PER_HOST
    for name in fields - {"gpu_driver"}:
        assert f"| `canary_{name}` |" in text, name
        assert (f"`canary_{name}`" in own) == (name in PER_HOST), name
    assert all(f"| `{name}` |" in text and name not in own for name in UNSHOWN)


@pytest.mark.parametrize(
    "root",
    [
        "relative",
        "/",
        "/srv/",
        "/srv//x",
        "/srv/../etc",
        "/srv/./x",
        "/srv/a b",
        "/srv/$(id)",
        "/srv/x;id",
        "/srv/x\n",
        7,
        "",
    ],
)
def test_a_root_that_is_no_plain_absolute_path_is_refused(root: Any, environment: Any) -> None:
    with pytest.raises(ConfigError, match="canary_root of b"):
        environment({}, {"canary_root": root})


@pytest.mark.parametrize("root", ["/opt/canaryctl", "/srv/can-ary_1.0/@x+y", None])
def test_an_absolute_path_is_taken(root: Any, environment: Any) -> None:
    assert environment({}, {"canary_root": root}).hosts["b"].root == (root or "/opt/canaryctl")
