"""When and where the database is migrated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from planned import (
    DB,
    MARKER,
    RELEASE,
    STACK,
    TARGET,
    UPGRADE,
    WEB,
    WEB_TAG,
    brief,
    container,
    document,
    make_rendering,
    plan_of,
    state,
)

from canaryctl.config.policy import Policy
from canaryctl.facts.host import parse
from canaryctl.plan.operations.migrate import to_migrate
from canaryctl.plan.plan import make_plan
from canaryctl.plan.target import Target


class TestMigration:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            (state(migrated=None), "never migrated from here"),
            (state(migrated={**MARKER, "image": DB.id}), "another release was migrated last"),
            (state(migrated={**MARKER, "upgrade": "other"}), "another release was migrated last"),
            (state(migrated={**MARKER, "project": "shop-test"}), "another release was migrated last"),
            ({"volumes": []}, "the database has no volume yet"),
            (
                {"volumes": [{"name": "x", "created": 1001.0, "project": "shop-prod"}]},
                "a volume is newer than the last migration",
            ),
        ],
    )
    def test_why_it_runs(self, changes: dict[str, Any], reason: str) -> None:
        assert brief(plan_of(document(**changes))) == [("migrate", UPGRADE, reason)]

    def test_somebody_elses_volume_does_not_count(self) -> None:
        volumes = [*document()["volumes"], {"name": "x", "created": 2000.0, "project": "other"}]
        assert plan_of(document(volumes=volumes)).operations == ()

    def test_a_new_volume_of_another_service_does_not_count(self) -> None:
        rendering = replace(TARGET.rendering, volumes={"db": ("data",), "web": ("uploads",)})
        newer = {"name": "shop-prod_uploads", "created": 2000.0, "project": "shop-prod"}
        target = replace(TARGET, rendering=rendering)
        assert plan_of(document(volumes=[*document()["volumes"], newer]), target).operations == ()
        fresh = [{**newer, "name": "shop-prod_data"}]
        (change,) = plan_of(document(volumes=fresh), target).operations
        assert change.reason == "a volume is newer than the last migration"

    def test_a_stack_without_migrations_never_migrates(self) -> None:
        stack = STACK.model_copy(update={"migrations": None})
        assert plan_of(document(**state(migrated=None)), stack=stack).operations == ()

    def test_it_runs_once_on_the_first_host_with_its_service(self) -> None:
        hosts = ("one", "two", "three")
        placed = {"one": ("db",), "two": ("web",), "three": ("web",)}
        targets = {h: Target(make_rendering(h, placed[h]), "shop-prod", None) for h in hosts}
        facts = {h: parse(h, {"docker": {"running": True}, "compose": {"version": "2.26"}}) for h in hosts}
        plan = make_plan(STACK, RELEASE, targets, facts, dict.fromkeys(hosts, Policy()))
        assert plan.hosts("migrate") == ["two"]


def test_an_operation_knows_what_makes_way_on_the_database_s_hosts_too() -> None:
    other = container("web", WEB, WEB_TAG, project="shop-test", name="shop-test-web-1")
    targets = {
        "one": Target(make_rendering("one", ("db",)), "shop-prod", None),
        "two": Target(make_rendering("two", ("web",)), "shop-prod", None),
        "three": Target(make_rendering("three", ("web",)), "shop-prod", None),
    }
    seen = document(containers=[other], **state(migrated=None))
    (migrate,) = to_migrate(STACK, RELEASE, targets, {host: parse(host, seen) for host in targets})
    assert (migrate.host, migrate.service, migrate.upgrade) == ("two", "web", UPGRADE)
    assert migrate.replaces == {"one": ("shop-test",), "two": ("shop-test",)}
    assert migrate.as_dict()["operation"]["kind"] == "migrate" and migrate.what == UPGRADE
