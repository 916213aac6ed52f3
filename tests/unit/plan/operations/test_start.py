"""What starts, stops and goes on a host, and ports in the way."""

from __future__ import annotations

from typing import Any

import pytest
from planned import (
    ANY,
    DB,
    DB_TAG,
    DIRECTORY,
    WEB,
    WEB_TAG,
    brief,
    container,
    document,
    only_problem,
    plan_of,
    state,
)

from canaryctl.plan.operations.start import MakeCurrent, RemoveService, StartService, StartVariant, StopProject


class TestContainers:
    @pytest.mark.parametrize(
        ("more", "reason"),
        [
            ({"state": "exited", "exit_code": 137}, "is exited (exit code 137)"),
            ({"state": "exited", "exit_code": 0}, "is exited"),
            ({"health": "unhealthy"}, "is unhealthy"),
            ({"health": "starting"}, "is starting"),
            ({"image_id": DB.id, "image": "canaryctl/shop/web:sha256-000000000000"}, "runs another image"),
            ({"oneoff": True}, "is not there"),
        ],
    )
    def test_why_one_is_started(self, more: dict[str, Any], reason: str) -> None:
        seen = document(containers=[container("web", WEB, WEB_TAG, **more), container("db", DB, DB_TAG)])
        assert brief(plan_of(seen)) == [("start", "web", reason)]

    def test_one_without_a_health_check_is_fine_when_it_runs(self) -> None:
        seen = document(containers=[container("web", WEB, WEB_TAG, health=""), container("db", DB, DB_TAG)])
        assert plan_of(seen).operations == ()

    def test_a_stray_is_removed(self) -> None:
        seen = document(containers=[*document()["containers"], container("old", DB, DB_TAG)])
        assert brief(plan_of(seen)) == [("start", "remove old", "not placed here")]

    def test_a_one_off_container_is_no_stray(self) -> None:
        seen = document(containers=[*document()["containers"], container("web", WEB, WEB_TAG, oneoff=True)])
        assert plan_of(seen).operations == ()


class TestOtherEnvironment:
    OTHER = container("web", WEB, WEB_TAG, project="shop-test", name="shop-test-web-1")
    STATE = state(
        current="other",
        releases={"other": {"release": {"environment": "test"}}},
    )

    def test_it_is_stopped_first(self) -> None:
        plan = plan_of(document(containers=[self.OTHER], **self.STATE))
        start = [(what, reason) for stage, what, reason in brief(plan) if stage == "start"]
        assert start[0] == ("stop shop-test", "replaces shop-test")
        assert [(stop.host, stop.project) for stop in plan.of(StopProject)] == [("one", "shop-test")]

    def test_its_ports_are_not_in_the_way(self) -> None:
        assert plan_of(document(containers=[self.OTHER], **self.STATE)).problems == ()

    def test_a_project_that_only_looks_alike_is_left_alone(self) -> None:
        stranger = container("web", WEB, "x", project="shop-keeper", config_files="/home/me/compose.yml", ports=[])
        plan = plan_of(document(containers=[*document()["containers"], stranger]))
        assert plan.operations == () and not plan.of(StopProject)


class TestPorts:
    def free(self, **port: Any) -> dict[str, Any]:
        """Nothing of ours runs; one listener is there."""
        return document(containers=[], ports=[{"address": "192.0.2.1", "port": 8080, **port}])

    @pytest.mark.parametrize("address", ["192.0.2.1", ANY, "::", "*"])
    def test_a_process_holds_it(self, address: str) -> None:
        problem = only_problem(plan_of(self.free(address=address, process="nginx")))
        assert "port 8080 of service web" in problem.what and "nginx" in problem.what
        assert problem.stage == "start" and problem.where == "one"

    @pytest.mark.parametrize("port", [{"address": "192.0.2.9"}, {"port": 8081}])
    def test_another_address_or_port_is_no_matter(self, port: dict[str, Any]) -> None:
        assert plan_of(self.free(**port)).problems == ()

    def test_somebody_elses_container_holds_it(self) -> None:
        stranger = {
            **{"name": "their-web", "project": "theirs", "state": "running"},
            "ports": [{"address": ANY, "port": 8080}],
        }
        seen = {**self.free(address=ANY, process="docker-proxy"), "containers": [stranger]}
        assert "container their-web" in only_problem(plan_of(seen)).what

    def test_an_unnamed_holder_is_still_said(self) -> None:
        assert "another process" in only_problem(plan_of(self.free())).what


OTHER_RELEASE = f"{'2' * 64}-00000000"


def test_operations_know_what_is_started_stopped_and_made_current() -> None:
    other = container("web", WEB, WEB_TAG, project="shop-test", name="shop-test-web-1")
    stray = container("old", DB, DB_TAG)
    moved = container("web", WEB, WEB_TAG, image_id=DB.id, image="canaryctl/shop/web:sha256-000000000000")
    there = state(current=OTHER_RELEASE, releases={OTHER_RELEASE: {"release": {"environment": "test"}}})
    start = plan_of(document(containers=[other, stray, moved], **there)).only("start").operations
    assert start == (
        StopProject("one", "replaces shop-test", "shop-test"),
        MakeCurrent("one", "222222222222 is current", DIRECTORY),
        StartService("one", "is not there", "db"),
        StartService("one", "runs another image", "web", renewed=True),
        RemoveService("one", "not placed here", "old"),
    )
    assert [operation.as_dict()["operation"] for operation in start] == [
        {"kind": "stop-project", "project": "shop-test"},
        {"kind": "make-current", "release": DIRECTORY},
        {"kind": "start-service", "service": "db", "renewed": False},
        {"kind": "start-service", "service": "web", "renewed": True},
        {"kind": "remove-service", "service": "old"},
    ]


def test_a_candidate_s_start_is_told_by_its_variant() -> None:
    told = StartVariant("one", "they take the place of the baseline's", "cpu")
    assert (told.stage, told.what, told.data) == ("start", "the services of cpu", {"variant": "cpu"})
