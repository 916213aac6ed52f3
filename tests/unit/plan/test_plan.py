"""The plan: what is on the hosts against what the release wants, as tables."""

from __future__ import annotations

from typing import Any

import pytest
from planned import (
    ANY,
    DB,
    DB_TAG,
    RELEASE,
    STACK,
    WEB,
    WEB_TAG,
    brief,
    container,
    document,
    make_rendering,
    only_problem,
    plan_of,
    state,
)

from canaryctl.config.policy import Policy
from canaryctl.facts.host import HostFacts, parse
from canaryctl.plan.operations.start import StopProject
from canaryctl.plan.plan import Plan, make_plan
from canaryctl.plan.target import Target


def test_what_somebody_put_in_the_place_of_current_is_a_problem_before_anything_is_changed() -> None:
    seen = document(**state(current=None), errors={"state.current": "[Errno 22] Invalid argument: '/opt/x/current'"})
    problem = only_problem(plan_of(seen))
    assert "`current`" in problem.what and problem.stage == "start" and problem.host == "one"
    unreadable = document(errors={"state.current": "[Errno 13] Permission denied: '/opt/x/current'"})
    assert plan_of(unreadable).problems == ()


def test_a_host_that_is_as_it_should_be_needs_nothing() -> None:
    plan = plan_of(document())
    assert plan.operations == () and plan.problems == () and plan.of(StopProject) == []


def test_a_bare_host_gets_every_stage_in_order() -> None:
    plan = plan_of({"user": "ops", "become": "sudo", "arch": "amd64", "disks": {"/": {"free": 10**12}}})
    assert [stage for stage, _, _ in brief(plan)] == [
        *("provision", "push", "push", "render", "render"),
        *("migrate", "start", "start", "start"),
    ]
    assert ("render", "secrets.env", "not on the host") in brief(plan)
    assert brief(plan)[0] == ("provision", "install Docker and compose", "Docker is not installed")


class TestPlan:
    def two(self, facts: dict[str, HostFacts]) -> Plan:
        targets = {h: Target(make_rendering(h), "shop-prod", "mac") for h in ("one", "two")}
        return make_plan(STACK, RELEASE, targets, facts, {"one": Policy(), "two": Policy()})

    def test_hosts_that_were_not_observed_are_not_planned_for(self) -> None:
        plan = self.two({"two": parse("two", document(containers=[], ports=[]))})
        assert {change.host for change in plan.operations} == {"two"}

    def test_stages_come_in_order_over_all_hosts(self) -> None:
        bare = document(images=[], containers=[], ports=[], **state(current=None, releases={}))
        plan = self.two({"one": parse("one", bare), "two": parse("two", bare)})
        order = [(change.stage, change.host) for change in plan.operations]
        stages = [stage for stage, _ in order]
        assert stages == sorted(stages, key=["push", "render", "start"].index)
        assert [host for stage, host in order if stage == "render"] == ["one", "two"]

    def test_an_optional_service_without_hosts_is_said(self) -> None:
        assert plan_of(document()).notes == ("gpu is optional and left out: its group has no host here",)

    def test_one_stage_of_it(self) -> None:
        plan = plan_of(document(images=[], containers=[], ports=[]))
        assert {change.stage for change in plan.only("push").operations} == {"push"}

    @pytest.mark.parametrize(("stage", "stopped"), [("push", True), ("start", True), ("provision", False)])
    def test_a_later_stages_problem_does_not_stop_an_earlier_one(self, stage: str, stopped: bool) -> None:
        seen = document(images=[], disks={"/var/lib/docker": {"free": 1}})
        assert bool(plan_of(seen).problems_before_end_of(stage)) is stopped

    def test_a_taken_port_does_not_stop_push(self) -> None:
        seen = document(containers=[], ports=[{"address": ANY, "port": 8080}])
        plan = plan_of(seen)
        assert plan.problems and plan.problems_before_end_of("push") == []

    def test_access_problems_stop_every_stage(self) -> None:
        seen = document(become="refused", docker={"running": False})
        assert plan_of(seen).problems_before_end_of("provision")


class TestAgreement:
    """A plan that was agreed with holds as long as what is observed leads to no other operation."""

    def test_other_reasons_are_the_same_plan(self) -> None:
        sick = document(containers=[container("web", WEB, WEB_TAG, health="unhealthy"), container("db", DB, DB_TAG)])
        starting = document(containers=[container("web", WEB, WEB_TAG, health="starting"), container("db", DB, DB_TAG)])
        assert plan_of(sick) != plan_of(starting) and plan_of(sick).within(plan_of(starting))

    @pytest.mark.parametrize(
        "seen",
        [
            document(containers=[]),
            document(images=[], containers=[container("db", DB, DB_TAG)]),
            document(
                containers=[container("db", DB, DB_TAG), container("web", WEB, WEB_TAG, image_id="sha256:0", image="")]
            ),
        ],
    )
    def test_other_operations_or_others_of_their_data_are_not(self, seen: dict[str, Any]) -> None:
        agreed = plan_of(document(containers=[container("db", DB, DB_TAG)]))
        assert [type(one).__name__ for one in agreed.operations] == ["StartService"]
        assert not plan_of(seen).within(agreed)

    def test_less_than_was_agreed_with_is(self) -> None:
        agreed = plan_of(document(containers=[]))
        assert plan_of(document()).within(agreed) and agreed.only("start").within(agreed)
