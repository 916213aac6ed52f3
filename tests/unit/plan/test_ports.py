"""Ports that a release publishes against those in use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canaryctl.facts.change import ChangeFacts
from canaryctl.facts.host import DockerFacts, HostFacts, parse
from canaryctl.plan.ports import on_all_addresses, taken_ports, way_out

ANY, LOCAL, OTHER = "0.0.0.0", "192.0.2.1", "192.0.2.9"  # noqa: S104  compared with, not bound


def host(address: str, *, project: str = "", holder: str = "", published: str = "") -> HostFacts:
    containers = []
    if project:
        ports = [{"address": published or address, "port": 80, "container_port": 80}]
        containers = [{"name": f"{project}-web-1", "project": project, "state": "running", "ports": ports}]
    listeners = [{"address": address, "port": 80, "process": holder}]
    return parse("one", {"containers": containers, "ports": listeners})


@pytest.mark.parametrize(
    ("wanted", "taken", "clash"),
    [
        (LOCAL, LOCAL, True),
        (LOCAL, OTHER, False),
        (LOCAL, ANY, True),
        (LOCAL, "::", True),
        ("", LOCAL, True),
        (ANY, OTHER, True),
        ("2001:db8::1", "2001:db8::2", False),
    ],
)
def test_addresses_collide_where_they_are_the_same_or_stand_for_all(wanted: str, taken: str, clash: bool) -> None:
    found = taken_ports([(wanted, 80, "web")], host(taken, holder="nginx"), ())
    assert found == ([(80, "web", "nginx")] if clash else [])


def test_another_port_is_no_matter() -> None:
    assert taken_ports([(LOCAL, 81, "web")], host(LOCAL), ()) == []


def test_what_our_own_projects_hold_is_free_and_a_stranger_is_named() -> None:
    ours = host(LOCAL, project="shop-prod")
    assert taken_ports([(LOCAL, 80, "web")], ours, {"shop-prod"}) == []
    assert taken_ports([(LOCAL, 80, "web")], ours, {"shop-test"}) == [(80, "web", "container shop-prod-web-1")]


def test_our_container_on_another_address_explains_no_listener() -> None:
    seen = host(LOCAL, project="shop-prod", published=OTHER, holder="nginx")
    (found,) = taken_ports([(LOCAL, 80, "web")], seen, {"shop-prod"})
    assert found[:2] == (80, "web")


@pytest.mark.parametrize(
    ("address", "every"), [("", True), ("*", True), (ANY, True), ("::", True), (LOCAL, False), ("eth0", False)]
)
def test_addresses_that_stand_for_all(address: str, every: bool) -> None:
    assert on_all_addresses(address) is every


@pytest.mark.parametrize(
    ("phase", "holder", "clash"),
    [
        ("begun", "docker-proxy", False),
        ("returning", "docker-proxy", False),
        ("begun", "nginx", True),
        ("confirmed", "docker-proxy", True),
        (None, "docker-proxy", True),
    ],
)
def test_a_container_that_the_host_is_just_replacing_holds_its_own_port(
    phase: str | None, holder: str, clash: bool
) -> None:
    seen = host(LOCAL, holder=holder)
    change = ChangeFacts(phase=phase) if phase else None
    seen = replace(seen, state=replace(seen.state, change=change))
    assert bool(taken_ports([(LOCAL, 80, "web")], seen, ())) is clash


@pytest.mark.parametrize(("running", "clash"), [(True, True), (False, False)])
def test_whose_port_docker_listens_for_is_not_known_while_it_is_away(running: bool, clash: bool) -> None:
    seen = replace(host(LOCAL, holder="docker-proxy"), docker=DockerFacts(running=running))
    assert bool(taken_ports([(LOCAL, 80, "web")], seen, ())) is clash


@pytest.mark.parametrize(
    ("project", "holder", "help_"),
    [
        ("", "docker-proxy", "systemctl restart docker"),  # left by a power loss: no container has it
        ("", "nginx", "stop what holds it"),
        ("", "", "stop what holds it"),  # whose it is may be hidden from us
        ("blog", "docker-proxy", "stop what holds it"),
    ],
)
def test_a_port_that_docker_has_kept_is_freed_by_docker_alone(project: str, holder: str, help_: str) -> None:
    ((_, _, said),) = taken_ports([(LOCAL, 80, "web")], host(LOCAL, project=project, holder=holder), ("shop-prod",))
    assert help_ in way_out(said) and ("docker" in way_out(said)) is (help_ != "stop what holds it")
