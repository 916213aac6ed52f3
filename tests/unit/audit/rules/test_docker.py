"""Docker, its configuration and its ports: which facts are findings, and which are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from audited import ANY, CLEAN, MINE, audited, container, facts

from canaryctl.audit.model import Setup
from canaryctl.audit.rules.docker import (
    compose_missing,
    compose_old,
    daemon_conflict,
    docker_down,
    docker_missing,
    docker_old,
    port_conflict,
    port_everywhere,
    port_everywhere_planned,
)
from canaryctl.audit.severity import Severity


@pytest.mark.parametrize(
    ("docker", "become", "rules"),
    [
        (None, "sudo", [docker_missing]),
        ({"running": False, "error": "refused"}, "sudo", [docker_down]),
        ({"running": False}, "refused", []),  # sudo-refused says it
        ({"running": True, "version": "26.1.5"}, "sudo", []),
    ],
)
def test_a_docker_that_is_not_there_or_does_not_answer(docker: Any, become: str, rules: list[Any]) -> None:
    host = facts({"docker": docker, "become": become})
    assert [rule for rule in (docker_missing, docker_down, docker_old) if list(rule(host, MINE))] == rules


@pytest.mark.parametrize(
    ("version", "old"),
    [("20.10.0", False), ("20.9.9", True), ("9.0", True), ("v26.1.5+dfsg1", False), ("", False), ("100.0", False)],
)
def test_dockers_are_compared_by_number(version: str, old: bool) -> None:
    host = facts({"docker": {**CLEAN["docker"], "version": version}})
    assert bool(list(docker_old(host, MINE))) == old


@pytest.mark.parametrize(
    ("docker", "compose", "missing", "old"),
    [
        (CLEAN["docker"], None, True, False),
        (CLEAN["docker"], {"version": "2.9.0"}, False, True),
        (CLEAN["docker"], {"version": "v2.40.0"}, False, False),
        (None, None, False, False),  # docker-missing says it
    ],
)
def test_compose(docker: Any, compose: Any, missing: bool, old: bool) -> None:
    host = facts({"docker": docker, "compose": compose})
    assert (bool(list(compose_missing(host, MINE))), bool(list(compose_old(host, MINE)))) == (missing, old)


@pytest.mark.parametrize(
    ("keys", "flags", "subjects"),
    [
        (["hosts"], ["H"], ["hosts"]),
        (["hosts"], ["host"], ["hosts"]),
        (["debug"], ["D"], ["debug"]),
        (["runtimes"], ["add-runtime"], ["runtimes"]),
        (["data-root"], ["data-root"], ["data-root"]),
        (["hosts"], ["containerd"], []),
        (["log-opts"], ["log-driver"], []),
        ([], ["H"], []),
    ],
)
def test_an_option_and_its_flag_are_one_thing(keys: list[str], flags: list[str], subjects: list[str]) -> None:
    host = facts(audited(daemon={"path": "/etc/docker/daemon.json", "keys": keys, "flags": flags}))
    assert [found.subject for found in daemon_conflict(host, MINE)] == subjects


@pytest.mark.parametrize(
    ("ports", "holders", "conflicts"),
    [
        ([{"address": ANY, "port": 8080, "process": "nginx"}], [container(ports=[])], ["web:8080"]),
        ([{"address": "192.0.2.9", "port": 8080, "process": "nginx"}], [container(ports=[])], []),
        ([{"address": ANY, "port": 8080, "process": "docker-proxy"}], [container()], []),
        (
            [{"address": ANY, "port": 8080, "process": "docker-proxy"}],
            [container(project="shop-staging")],  # a deploy replaces it
            [],
        ),
        (
            [{"address": ANY, "port": 8080, "process": "docker-proxy"}],
            [container(project="blog", image="blog:1", config_files="/srv/blog/compose.yml")],
            ["web:8080"],
        ),
    ],
)
def test_a_port_is_taken_by_what_is_not_of_the_environment(
    ports: list[dict[str, Any]], holders: list[dict[str, Any]], conflicts: list[str]
) -> None:
    host = facts({"ports": ports, "containers": holders})
    assert [found.subject for found in port_conflict(host, MINE)] == conflicts


def test_an_open_port_of_ours_counts_and_one_of_others_is_mentioned() -> None:
    ports = [{"address": "::", "port": 80}, {"address": "127.0.0.1", "port": 81}]
    host = facts({"containers": [container(ports=ports), {"name": "theirs", "ports": ports, "state": "running"}]})
    assert [(found.subject, found.severity) for found in port_everywhere(host, MINE)] == [
        ("web:80", None),
        ("theirs:80", Severity.INFO),
    ]
    planned = replace(MINE, ports=(("", 80, "web"), ("192.0.2.1", 81, "web")))
    setup = Setup("prod", hosts={"one": planned}, compose_where="compose.yml.j2")
    assert [(one.subject, one.host, one.file) for one in port_everywhere_planned(setup)] == [
        ("web:80", "one", "compose.yml.j2")
    ]
