"""Hosts asked all at once: this machine under two names, and one that nobody answers for."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import LOST, make_project

from canaryctl.commands.fleet import connected
from canaryctl.commands.request import Request, load_project
from canaryctl.errors import HostError
from canaryctl.plan.deployment import Deployment, load_deployment


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.chdir(make_project(tmp_path, one={}, lost=LOST, two={}))
    return load_deployment(Request(load_project(), "canary"))


def test_each_host_has_its_answer_and_the_lost_ones_are_told_apart(deployment: Deployment) -> None:
    with connected(deployment) as fleet:
        found, lost = fleet.each(lambda connection: (connection.inventory.name, connection.run("echo hello").stdout))
        assert (fleet.environment, fleet.stack) == ("canary", "shop")
    assert found == {"one": ("one", b"hello\n"), "two": ("two", b"hello\n")}
    assert [failure.where for failure in lost] == ["lost"]


def test_where_every_host_counts_a_lost_one_is_raised(deployment: Deployment) -> None:
    with connected(deployment) as fleet, pytest.raises(HostError) as raised:
        fleet.all(lambda connection: connection.host)
    assert raised.value.where == "lost"


def test_some_of_the_hosts_are_asked_what_they_serve(deployment: Deployment) -> None:
    hosts = [host for host in deployment.hosts if host.name != "lost"]
    with connected(deployment, hosts) as fleet:
        seen = fleet.observe()
        assert fleet.all(lambda connection: connection.host) == {"one": "one", "two": "two"}
    assert list(seen.facts) == ["one", "two"] and not seen.failures
