"""An audit of hosts whose stack's files cannot be read, or whose records are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from canaryctl.audit.snapshot import Snapshot, as_served, begin, complete
from canaryctl.config.project import Project
from canaryctl.config.versions import version_of
from canaryctl.facts.host import HostFacts, ReleaseFacts, StateFacts
from canaryctl.plan.deployment import Request
from canaryctl.plan.operations.provision import OLDEST_COMPOSE

STACK: dict[str, Any] = {
    "stack": "shop",
    "images": {
        "old": {"tag": "a:1", "gpu": "required", "cuda": "9.2"},
        "new": {"tag": "b:1", "gpu": "required", "cuda": "12.4"},
    },
    "variants": {"only": {"a": "old", "b": "new"}},
    "placement": {"all": ["a", "b"]},
    "compose": "compose.yml.j2",
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "inventories" / "prod").mkdir(parents=True)
    (tmp_path / "inventories" / "prod" / "hosts.yml").write_text("all: {hosts: {h: {ansible_host: 192.0.2.1}}}\n")
    (tmp_path / "stack.yml").write_text(yaml.safe_dump(STACK))
    (tmp_path / "compose.yml.j2").write_text("services: {}\n")
    (tmp_path / "probes.yml").write_text("[]\n")
    return Project(tmp_path, tmp_path / "stack.yml", tmp_path / "inventories", tmp_path / "runs")


def surveyed(project: Project) -> Snapshot:
    found = begin(Request(project, "prod"))
    complete(found)
    return found


def serving(**release: Any) -> HostFacts:
    known = {"id": "a" * 64, "environment": "prod", "stack": "shop", "variant": "only", "services": {}, "images": {}}
    state = StateFacts(current="x", releases={"x": ReleaseFacts({**known, "files": {}, **release})})
    return HostFacts("h", state=state)


def test_a_stack_whose_files_are_not_read_is_a_finding_and_no_crash(project: Project) -> None:
    project.stack.write_text(yaml.safe_dump({**STACK, "assets": ["big"]}))
    with (project.root / "big").open("wb") as file:
        file.truncate(65 << 20)  # more than a release may hold
    found = surveyed(project)
    assert found.files is None and any(issue.kind == "stack" for issue in found.issues)
    assert as_served(found, serving()) == found.hosts["h"]


@pytest.mark.parametrize(
    "odd", [{"images": 7}, {"services": ["a"]}, {"images": {"old": None}}, {"files": None}, {"variant": []}]
)
def test_a_release_json_that_is_none_is_no_crash(project: Project, odd: dict[str, Any]) -> None:
    found = surveyed(project)
    assert as_served(found, serving(**odd)).name == "h"


def test_the_highest_cuda_is_told_by_number(project: Project) -> None:
    assert surveyed(project).hosts["h"].cuda == "12.4"


def test_hosts_that_differ_in_the_environments_policy_are_a_finding(project: Project) -> None:
    hosts = {"all": {"hosts": {"h": {}, "i": {"canary_on_failure": "keep"}}}}
    (project.inventories / "prod" / "hosts.yml").write_text(yaml.safe_dump(hosts))
    assert any("canary_on_failure" in issue.what for issue in surveyed(project).issues)


def test_the_oldest_compose_is_one_number() -> None:
    defaults = Path(__file__).parents[3] / "roles" / "docker_engine" / "defaults" / "main.yml"
    minimum = yaml.safe_load(defaults.read_text())["docker_engine_compose_minimum"]
    assert version_of(minimum) == OLDEST_COMPOSE
