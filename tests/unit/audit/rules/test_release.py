"""What a host serves against what was deployed there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from audited import DIRECTORY, HASHES, IMAGE, MINE, OTHER, TAG, container, deployed, facts, locked

from canaryctl.audit.rules.release import (
    RESTARTS,
    RESTARTS_WITHIN,
    drift_file,
    drift_image,
    lock_expired,
    no_release,
    restart_loop,
    service_down,
    unhealthy,
)
from canaryctl.audit.severity import Severity

NOW = 2000.0  # the clean host's clock
ELSEWHERE = replace(MINE, directory="")  # this machine cannot render what the host serves


@pytest.mark.parametrize(
    ("files", "config", "subjects"),
    [
        (HASHES, MINE, []),
        (HASHES, ELSEWHERE, []),
        ({**HASHES, "compose.yml": "edited"}, MINE, ["compose.yml"]),
        ({**HASHES, "compose.yml": "edited"}, ELSEWHERE, ["compose.yml"]),
        ({**HASHES, "assets/data/a.csv": "edited"}, ELSEWHERE, ["assets/data/a.csv"]),
        ({**HASHES, "assets/data/b.csv": "new"}, MINE, ["assets/data/b.csv"]),
        ({"compose.yml": HASHES["compose.yml"]}, MINE, ["assets/data/a.csv"]),
    ],
)
def test_each_file_that_differs_is_named(files: dict[str, str], config: Any, subjects: list[str]) -> None:
    assert [found.subject for found in drift_file(facts(deployed(files)), config)] == subjects


@pytest.mark.parametrize(
    ("state", "subjects"),
    [
        ({"current": None, "releases": {}}, []),
        ({"current": DIRECTORY, "releases": {}}, ["release.json"]),
        ({"current": DIRECTORY, "releases": {DIRECTORY: {"release": None, "files": {}}}}, ["release.json"]),
    ],
)
def test_a_host_without_a_release_has_not_drifted_and_one_whose_release_cannot_be_read_has(
    state: dict[str, Any], subjects: list[str]
) -> None:
    assert [found.subject for found in drift_file(facts({"state": state}), MINE)] == subjects


@pytest.mark.parametrize(
    ("changes", "subjects"),
    [
        ({}, []),
        ({"containers": [container(image_id=OTHER)]}, ["web"]),
        ({"images": [{"id": OTHER, "tags": [TAG]}]}, [TAG]),
        ({"containers": [container(image_id=OTHER)], "images": [{"id": OTHER, "tags": [TAG]}]}, ["web", TAG]),
        ({"containers": []}, []),  # service-down says it
        (deployed(environment="staging") | {"containers": [container(image_id=OTHER)]}, []),
    ],
)
def test_an_image_drifts_in_a_container_and_behind_its_tag(changes: dict[str, Any], subjects: list[str]) -> None:
    assert [found.subject for found in drift_image(facts(changes), MINE)] == subjects


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (container(name="x", config_files=""), [("x", None)]),
        (container(name="x", service="old"), [("x", None)]),
        (container(name="x", service="old", oneoff=True), []),
        (container(name="x", project="", image="nginx:1", config_files=""), [("x", Severity.INFO)]),
        (container(name="x", project="", image="canaryctl/shop/web:y", config_files=""), [("x", None)]),
    ],
)
def test_a_container_of_no_release_counts_where_it_is_ours(other: dict[str, Any], found: list[Any]) -> None:
    seen = facts({"containers": [container(), other]})
    assert [(one.subject, one.severity) for one in no_release(seen, MINE)] == found


@pytest.mark.parametrize(
    ("state", "down"),
    [("running", False), ("restarting", False), ("exited", True), ("created", True), ("paused", True), ("dead", True)],
)
def test_a_service_that_does_not_run(state: str, down: bool) -> None:
    assert bool(list(service_down(facts({"containers": [container(state=state)]}), MINE))) == down


def test_nothing_is_down_that_docker_does_not_tell_of_or_another_environment_placed() -> None:
    assert not list(service_down(facts({"docker": {"running": False}, "containers": []}), MINE))
    assert not list(service_down(facts(deployed(environment="staging") | {"containers": []}), MINE))


@pytest.mark.parametrize(
    ("changed", "loops"),
    [
        ({"state": "restarting", "restarts": 1}, True),
        ({"restarts": RESTARTS, "started": NOW - RESTARTS_WITHIN + 1}, True),
        ({"restarts": RESTARTS, "started": NOW - RESTARTS_WITHIN}, False),
        ({"restarts": RESTARTS - 1, "started": NOW - 1}, False),
        ({"restarts": RESTARTS, "started": None}, False),
        ({"restarts": RESTARTS, "started": NOW - 1, "project": "blog"}, False),
    ],
)
def test_restarts_count_where_they_are_many_and_recent(changed: dict[str, Any], loops: bool) -> None:
    assert bool(list(restart_loop(facts({"containers": [container(**changed)]}), MINE))) == loops


@pytest.mark.parametrize(
    ("health", "found"), [("healthy", False), ("starting", False), ("", False), ("unhealthy", True)]
)
def test_health_is_what_the_containers_own_check_says(health: str, found: bool) -> None:
    assert bool(list(unhealthy(facts({"containers": [container(health=health)]}), MINE))) == found


def test_a_lock_counts_once_it_has_expired() -> None:
    assert not list(lock_expired(facts(locked(expired=False)), MINE))
    assert [found.subject for found in lock_expired(facts(locked(expired=True)), MINE)] == ["lock"]
    assert not list(lock_expired(facts({"state": {"current": None}, "images": [{"id": IMAGE, "tags": []}]}), MINE))
