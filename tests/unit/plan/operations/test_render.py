"""Files and secrets that a host lacks or has otherwise, and what is started for them."""

from __future__ import annotations

from dataclasses import replace

from planned import (
    DB,
    DB_TAG,
    DIRECTORY,
    TARGET,
    USING,
    WEB,
    WEB_TAG,
    brief,
    container,
    document,
    make_rendering,
    plan_of,
    state,
)

from canaryctl.facts.host import parse
from canaryctl.plan.operations.render import Render, WriteSecrets, to_render


class TestRendering:
    def test_drift_names_the_files(self) -> None:
        releases = {DIRECTORY: {"release": {"environment": "prod"}, "files": {"compose.yml": "0", "more": "1"}}}
        (change,) = plan_of(document(**state(releases=releases))).operations
        assert change.stage == "render" and change.reason == "drift: compose.yml differ"

    def test_files_that_a_service_or_a_person_wrote_are_no_drift_and_are_told(self) -> None:
        files = {**make_rendering().hashes, "state/row": "1", "compose.yml.drifted-20260101T000000Z": "2"}
        releases = {DIRECTORY: {"release": {"environment": "prod", "files": {}}, "files": files}}
        plan = plan_of(document(**state(releases=releases)))
        assert plan.operations == ()
        assert "one: release 111111111111 holds files that are not of it, which stay: state/row" in plan.notes

    def test_a_service_of_an_older_definition_is_started_again(self) -> None:
        older = container("web", WEB, WEB_TAG, config_files=f"/opt/canaryctl/shop/releases/{'9' * 64}-00000000/c.yml")
        plan = plan_of(document(containers=[older, container("db", DB, DB_TAG)]))
        assert brief(plan) == [("start", "web", "runs an older definition, of release 999999999999")]

    def test_what_mounts_a_file_that_is_put_back_is_started_again(self) -> None:
        source = f"/opt/canaryctl/shop/releases/{DIRECTORY}/compose.yml"
        web = container("web", WEB, WEB_TAG, mounts=[{"type": "bind", "source": source, "destination": "/c"}])
        releases = {DIRECTORY: {"release": {"environment": "prod"}, "files": {"compose.yml": "0"}}}
        seen = document(containers=[web, container("db", DB, DB_TAG)], **state(releases=releases))
        assert brief(plan_of(seen))[1] == ("start", "web", "mounts compose.yml, which is put back")
        whole = document(
            containers=[web, container("db", DB, DB_TAG)],
            **state(started={"healed": ["compose.yml"]}),
        )
        assert ("start", "web", "mounts compose.yml, which is put back") in brief(plan_of(whole))

    def test_another_release_is_rendered_and_made_current(self) -> None:
        target = replace(TARGET, rendering=make_rendering(name=f"{'2' * 64}-00000000"))
        stages = [stage for stage, _, _ in brief(plan_of(document(), target))]
        assert stages == ["render", "start"]

    def test_a_new_secret_is_written_and_its_users_restarted(self) -> None:
        there = state(secrets="other", secret_macs={"DB": "1", "JWT": "old", "GONE": "3"})
        assert brief(plan_of(document(**there), USING)) == [
            ("render", "secrets.env", "GONE is no longer asked for, JWT has another value"),
            ("start", "web", "uses JWT, which has another value"),
        ]

    def test_a_secret_nobody_uses_here_restarts_nothing(self) -> None:
        there = state(secrets="other", secret_macs={"DB": "1", "JWT": "2", "SPARE": "old"})
        wanted = replace(USING, secret_macs={**USING.secret_macs, "SPARE": "new"})
        assert [stage for stage, _, _ in brief(plan_of(document(**there), wanted))] == ["render"]

    def test_services_not_started_since_a_secret_was_written_are_started(self) -> None:
        there = state(secret_macs={"DB": "1", "JWT": "2"}, secrets_unused=["DB"])
        assert brief(plan_of(document(**there), USING)) == [
            ("start", "db", "uses DB, which has another value"),
            ("start", "web", "uses DB, which has another value"),
        ]

    def test_a_stack_without_secrets_leaves_those_that_are_there(self) -> None:
        assert plan_of(document(), replace(TARGET, secrets=None)).operations == ()


def test_operations_know_the_release_its_services_and_what_is_put_back() -> None:
    new, secrets = to_render("one", TARGET, parse("one", document(state={})))
    assert new == Render("one", "nothing is deployed here yet", DIRECTORY, ("db", "web"))
    assert secrets == WriteSecrets("one", "not on the host")
    assert secrets.as_dict() == {
        "host": "one",
        "stage": "render",
        "what": "secrets.env",
        "reason": "not on the host",
        "operation": {"kind": "write-secrets"},
    }
    releases = {DIRECTORY: {"release": {"environment": "prod"}, "files": {"compose.yml": "0"}}}
    (healed,) = plan_of(document(**state(releases=releases))).of(Render)
    assert healed.healed == ("compose.yml",) and healed.what == f"release {DIRECTORY[:12]}"
    assert healed.as_dict()["operation"] == {
        "kind": "render",
        "release": DIRECTORY,
        "services": ["db", "web"],
        "healed": ["compose.yml"],
    }
