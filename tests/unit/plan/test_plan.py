"""The plan: what is on the hosts against what the release wants, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from canaryctl.config.policy import Policy
from canaryctl.config.stack import Mount, Stack
from canaryctl.errors import ApplyError, HostError
from canaryctl.facts.audit import MountFacts
from canaryctl.facts.host import HostFacts, parse
from canaryctl.plan.mounts import mount_faults, mounts_of
from canaryctl.plan.plan import Plan, Target, make_plan, missing_size, plan_provision
from canaryctl.plan.release import ImageFact, Release
from canaryctl.plan.rendering import Rendering

WEB = ImageFact("web", f"sha256:{'a' * 64}", "web:1", 2_000_000_000, ("sha256:l1", "sha256:l2"), "linux/amd64")
DB = ImageFact("db", f"sha256:{'b' * 64}", "db:1", 1_000_000_000, ("sha256:l1", "sha256:l3"), "linux/amd64")
WEB_TAG, DB_TAG = f"canaryctl/shop/web:sha256-{'a' * 12}", f"canaryctl/shop/db:sha256-{'b' * 12}"
UPGRADE = "shop-migrate up"
MARKER = {"project": "shop-prod", "image": WEB.id, "upgrade": UPGRADE, "revision": "7", "time": 1000.0}
STACK = Stack.model_validate(
    {
        "stack": "shop",
        "images": {"web": {"tag": "web:1"}, "db": {"tag": "db:1"}},
        "variants": {"only": {"web": "web", "db": "db", "gpu": "web"}},
        "placement": {"all": ["db", "web"], "gpus": ["gpu"]},
        "optional": ["gpu"],
        "compose": "compose.yml.j2",
        "migrations": {"service": "web", "upgrade": UPGRADE, "current": "shop-migrate current", "database": "db"},
    }
)
RELEASE = Release("1" * 64, "shop", "only", {"web": WEB, "db": DB, "gpu": WEB}, {})
ANY = "0.0.0.0"  # noqa: S104  compared with, not bound
DIRECTORY = f"{'1' * 64}-abcdef01"


def make_rendering(host: str = "one", services: tuple[str, ...] = ("db", "web"), name: str = DIRECTORY) -> Rendering:
    ports = (("192.0.2.1", 8080, "web"),) if "web" in services else ()
    return Rendering(host, name, services, {"compose.yml": b"services: {}\n"}, ports)


TARGET = Target(make_rendering(), "shop-prod", "mac")
USING = replace(
    TARGET,
    rendering=replace(make_rendering(), secrets={"db": ("DB",), "web": ("DB", "JWT")}),
    secret_macs={"DB": "1", "JWT": "2"},
)


def container(service: str, content: ImageFact, tag: str, **more: Any) -> dict[str, Any]:
    ports = [{"address": "192.0.2.1", "port": 8080, "container_port": 80}] if service == "web" else []
    return {
        "name": f"shop-prod-{service}-1",
        "image": tag,
        "image_id": content.id,
        "state": "running",
        "health": "healthy",
        "project": "shop-prod",
        "service": service,
        "ports": ports,
        "config_files": f"/opt/canaryctl/shop/releases/{DIRECTORY}/compose.yml",
        **more,
    }


def document(**changes: Any) -> dict[str, Any]:
    """A host on which everything is as the release wants it."""
    return {
        "user": "ops",
        "become": "sudo",
        "arch": "amd64",
        "docker": {"running": True, "version": "26.1.5", "root": "/var/lib/docker"},
        "compose": {"version": "2.26.1"},
        "disks": {"/": {"free": 1_000_000}, "/var/lib/docker": {"free": 10**12}},
        "images": [
            {"id": WEB.id, "tags": [WEB_TAG], "layers": list(WEB.layers)},
            {"id": DB.id, "tags": [DB_TAG], "layers": list(DB.layers)},
        ],
        "containers": [container("web", WEB, WEB_TAG), container("db", DB, DB_TAG)],
        "volumes": [{"name": "shop-prod_data", "created": 900.0, "project": "shop-prod"}],
        "ports": [{"address": "192.0.2.1", "port": 8080, "pid": 7, "process": "docker-proxy"}],
        "state": {
            "current": DIRECTORY,
            "releases": {
                DIRECTORY: {"release": {"environment": "prod"}, "files": make_rendering().hashes},
            },
            "secrets": "mac",
            "migrated": MARKER,
        },
        **changes,
    }


def state(**changes: Any) -> dict[str, Any]:
    return {"state": {**document()["state"], **changes}}


def plan_of(seen: dict[str, Any], target: Target = TARGET, policy: str = "auto", stack: Stack = STACK) -> Plan:
    return make_plan(stack, RELEASE, {"one": target}, {"one": parse("one", seen)}, {"one": Policy(policy)})


def brief(plan: Plan) -> list[tuple[str, str, str]]:
    return [(change.stage, change.what, change.reason) for change in plan.changes]


def test_an_image_made_to_share_another_ones_tag_is_refused() -> None:
    other = {"id": "sha256:" + "a" * 12 + "0" * 52, "tag": WEB_TAG}
    earlier = {"releases": {DIRECTORY: {"release": {"id": "2" * 64, "images": {"web": other}}}}}
    assert any("has the tag of another image" in problem.what for problem in plan_of(document(state=earlier)).problems)
    same = {"releases": {DIRECTORY: {"release": {"id": "2" * 64, "images": {"web": {**other, "id": WEB.id}}}}}}
    assert not any("has the tag" in problem.what for problem in plan_of(document(state=same)).problems)


def only_problem(plan: Plan) -> ApplyError:
    (problem,) = plan.problems
    assert isinstance(problem, ApplyError)
    return problem


def test_what_somebody_put_in_the_place_of_current_is_a_problem_before_anything_is_changed() -> None:
    seen = document(**state(current=None), errors={"state.current": "[Errno 22] Invalid argument: '/opt/x/current'"})
    problem = only_problem(plan_of(seen))
    assert "`current`" in problem.what and problem.stage == "start" and problem.host == "one"
    unreadable = document(errors={"state.current": "[Errno 13] Permission denied: '/opt/x/current'"})
    assert plan_of(unreadable).problems == ()


def test_a_host_that_is_as_it_should_be_needs_nothing() -> None:
    plan = plan_of(document())
    assert plan.changes == () and plan.problems == () and dict(plan.replaces) == {}


def test_a_bare_host_gets_every_stage_in_order() -> None:
    plan = plan_of({"user": "ops", "become": "sudo", "arch": "amd64", "disks": {"/": {"free": 10**12}}})
    assert [stage for stage, _, _ in brief(plan)] == [
        *("provision", "push", "push", "render", "render"),
        *("migrate", "start", "start", "start"),
    ]
    assert ("render", "secrets.env", "not on the host") in brief(plan)
    assert brief(plan)[0] == ("provision", "install Docker and compose", "Docker is not installed")


class TestReadiness:
    BARE = document(docker=None, compose=None, images=[], containers=[], ports=[], disks={})

    def test_auto_installs(self) -> None:
        plan = plan_of(self.BARE)
        assert plan.hosts("provision") == ["one"] and plan.problems == ()

    def test_check_names_what_is_missing(self) -> None:
        plan = plan_of(self.BARE, policy="check")
        assert plan.hosts("provision") == []
        problem = only_problem(plan)
        assert "Docker" in problem.what and "canaryctl provision" in problem.hint and problem.where == "one"

    def test_never_does_not_look(self) -> None:
        plan = plan_of(self.BARE, policy="never")
        assert plan.hosts("provision") == [] and plan.problems == ()

    @pytest.mark.parametrize("policy", ["auto", "check", "never"])
    def test_sudo_refused_is_about_the_host_and_comes_first(self, policy: str) -> None:
        seen = document(become="refused", become_reason="not in sudoers", docker={"running": False})
        problem = plan_of(seen, policy=policy).problems[0]
        assert isinstance(problem, HostError) and problem.where == "one"
        assert "ops" in problem.what and "not in sudoers" in problem.what and problem.hint

    def test_sudo_refused_matters_with_docker_running_too(self) -> None:
        seen = document(become="refused", docker={"running": True}, images=[])
        assert isinstance(plan_of(seen).problems[0], HostError)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"docker": {"running": False, "error": "it sleeps"}}, "Docker does not answer (it sleeps)"),
            ({"compose": None}, "docker compose v2 is not installed"),
            ({"compose": {"version": "2.3.3"}}, "docker compose 2.3.3 is older than 2.20"),
        ],
    )
    def test_what_is_lacking_is_said(self, changes: dict[str, Any], said: str) -> None:
        assert plan_of(document(**changes)).changes[0].reason == said

    @pytest.mark.parametrize("version", ["2.20.0", "v2.26.1-4", "2.39.0+ds1", "5.0.1"])
    def test_newer_compose_is_enough(self, version: str) -> None:
        assert plan_of(document(compose={"version": version})).changes == ()

    def test_provisioning_alone_needs_no_release(self) -> None:
        policies = {"one": Policy("auto"), "two": Policy("check")}
        plan = plan_provision({h: parse(h, self.BARE) for h in policies}, policies)
        assert plan.hosts("provision") == ["one", "two"]
        refused = parse("one", {**self.BARE, "become": "refused"})
        assert isinstance(plan_provision({"one": refused}, policies).problems[0], HostError)
        assert plan_provision({"one": parse("one", document(become="refused"))}, policies).problems == ()


class TestImages:
    def test_one_that_is_missing_is_pushed(self) -> None:
        plan = plan_of(document(images=document()["images"][:1]))
        assert ("push", f"db {DB_TAG} (1000 MB)", "not on the host") in brief(plan)

    def test_one_without_its_tag_is_only_tagged(self) -> None:
        seen = document(images=[{"id": WEB.id, "tags": ["web:old"]}, document()["images"][1]])
        assert ("push", f"web {WEB_TAG} (2000 MB)", "present, but not under its tag") in brief(plan_of(seen))

    def test_one_that_is_only_to_be_tagged_needs_no_room(self) -> None:
        seen = document(
            images=[{"id": WEB.id, "tags": []}, {"id": DB.id, "tags": []}], disks={"/var/lib/docker": {"free": 1}}
        )
        assert plan_of(seen).problems == ()

    def test_a_tag_on_other_layers_does_not_count(self) -> None:
        moved = {"id": WEB.id, "tags": [WEB_TAG], "layers": ["sha256:other"]}
        assert plan_of(document(images=[moved, document()["images"][1]])).hosts("push") == ["one"]

    def test_no_room_gives_the_figures(self) -> None:
        seen = document(images=[], disks={"/": {"free": 10**12}, "/var/lib/docker": {"free": 1_200_000_000}})
        problem = only_problem(plan_of(seen))
        assert all(word in problem.what for word in ("2400 MB", "1200 MB", "/var/lib/docker"))
        assert problem.stage == "push" and problem.hint

    def test_room_is_counted_by_the_layers_that_are_missing(self) -> None:
        web = replace(WEB, layer_sizes=(1_500_000_000, 500_000_000))
        db = replace(DB, layer_sizes=(1_500_000_000, 20_000_000))
        nothing = parse("one", document(images=[]))
        base = parse("one", document(images=[{"id": "sha256:0", "tags": [], "layers": ["sha256:l1", "sha256:x"]}]))
        assert missing_size([web, db], nothing) == 2_020_000_000
        assert missing_size([web, db], base) == 520_000_000
        assert missing_size([WEB, DB], nothing) == 2_000_000_000  # at least
        assert missing_size([WEB, DB], base) == 0

    def test_another_platform_is_refused(self) -> None:
        assert "linux/amd64, the host is linux/arm64" in plan_of(document(arch="arm64")).problems[0].what


class TestRendering:
    def test_drift_names_the_files(self) -> None:
        releases = {DIRECTORY: {"release": {"environment": "prod"}, "files": {"compose.yml": "0", "more": "1"}}}
        (change,) = plan_of(document(**state(releases=releases))).changes
        assert change.stage == "render" and change.reason == "drift: compose.yml differ"

    def test_files_that_a_service_or_a_person_wrote_are_no_drift_and_are_told(self) -> None:
        files = {**make_rendering().hashes, "state/row": "1", "compose.yml.drifted-20260101T000000Z": "2"}
        releases = {DIRECTORY: {"release": {"environment": "prod", "files": {}}, "files": files}}
        plan = plan_of(document(**state(releases=releases)))
        assert plan.changes == ()
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
        assert plan_of(document(), replace(TARGET, secrets=None)).changes == ()


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
        assert plan_of(seen).changes == ()

    def test_a_stray_is_removed(self) -> None:
        seen = document(containers=[*document()["containers"], container("old", DB, DB_TAG)])
        assert brief(plan_of(seen)) == [("start", "remove old", "not placed here")]

    def test_a_one_off_container_is_no_stray(self) -> None:
        seen = document(containers=[*document()["containers"], container("web", WEB, WEB_TAG, oneoff=True)])
        assert plan_of(seen).changes == ()


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
        assert plan.replaces == {"one": ("shop-test",)}

    def test_its_ports_are_not_in_the_way(self) -> None:
        assert plan_of(document(containers=[self.OTHER], **self.STATE)).problems == ()

    def test_a_project_that_only_looks_alike_is_left_alone(self) -> None:
        stranger = container("web", WEB, "x", project="shop-keeper", config_files="/home/me/compose.yml", ports=[])
        plan = plan_of(document(containers=[*document()["containers"], stranger]))
        assert plan.changes == () and not plan.replaces


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
        assert plan_of(document(volumes=volumes)).changes == ()

    def test_a_new_volume_of_another_service_does_not_count(self) -> None:
        rendering = replace(TARGET.rendering, volumes={"db": ("data",), "web": ("uploads",)})
        newer = {"name": "shop-prod_uploads", "created": 2000.0, "project": "shop-prod"}
        target = replace(TARGET, rendering=rendering)
        assert plan_of(document(volumes=[*document()["volumes"], newer]), target).changes == ()
        fresh = [{**newer, "name": "shop-prod_data"}]
        (change,) = plan_of(document(volumes=fresh), target).changes
        assert change.reason == "a volume is newer than the last migration"

    def test_a_stack_without_migrations_never_migrates(self) -> None:
        stack = STACK.model_copy(update={"migrations": None})
        assert plan_of(document(**state(migrated=None)), stack=stack).changes == ()

    def test_it_runs_once_on_the_first_host_with_its_service(self) -> None:
        hosts = ("one", "two", "three")
        placed = {"one": ("db",), "two": ("web",), "three": ("web",)}
        targets = {h: Target(make_rendering(h, placed[h]), "shop-prod", None) for h in hosts}
        facts = {h: parse(h, {"docker": {"running": True}, "compose": {"version": "2.26"}}) for h in hosts}
        plan = make_plan(STACK, RELEASE, targets, facts, dict.fromkeys(hosts, Policy()))
        assert plan.hosts("migrate") == ["two"]


class TestPlan:
    def two(self, facts: dict[str, HostFacts]) -> Plan:
        targets = {h: Target(make_rendering(h), "shop-prod", "mac") for h in ("one", "two")}
        return make_plan(STACK, RELEASE, targets, facts, {"one": Policy(), "two": Policy()})

    def test_hosts_that_were_not_observed_are_not_planned_for(self) -> None:
        plan = self.two({"two": parse("two", document(containers=[], ports=[]))})
        assert {change.host for change in plan.changes} == {"two"}

    def test_stages_come_in_order_over_all_hosts(self) -> None:
        bare = document(images=[], containers=[], ports=[], **state(current=None, releases={}))
        plan = self.two({"one": parse("one", bare), "two": parse("two", bare)})
        order = [(change.stage, change.host) for change in plan.changes]
        stages = [stage for stage, _ in order]
        assert stages == sorted(stages, key=["push", "render", "start"].index)
        assert [host for stage, host in order if stage == "render"] == ["one", "two"]

    def test_an_optional_service_without_hosts_is_said(self) -> None:
        assert plan_of(document()).notes == ("gpu is optional and left out: its group has no host here",)

    def test_one_stage_of_it(self) -> None:
        plan = plan_of(document(images=[], containers=[], ports=[]))
        assert {change.stage for change in plan.only("push").changes} == {"push"}

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


def test_a_mount_that_is_gone_forbids_running_anything_but_not_pushing() -> None:
    target = replace(TARGET, mounts=(Mount(path="/mnt/models", fstype="nfs4", sentinel=".mounted"),))
    plan = plan_of(document(), target)
    problem = only_problem(plan)
    assert problem.what == "nothing is mounted at /mnt/models"
    assert plan.problems_before_end_of("render") == []
    assert plan.problems_before_end_of("start") == [problem]
    there = {"path": "/mnt/models", "point": "/mnt/models", "fstype": "nfs4", "sentinel": True, "free": 1}
    assert plan_of(document(mounts=[there]), target).problems == ()


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        ({"point": "/", "fstype": "ext4"}, "absent"),
        ({"point": "/mnt/models", "fstype": "nfs4", "error": "stat did not answer within 5 s"}, "absent"),
        ({"point": "/mnt/models", "fstype": "tmpfs", "sentinel": True, "free": 10**10}, "fstype"),
        ({"point": "/mnt/models", "fstype": "nfs4", "sentinel": False, "free": 10**10}, "sentinel"),
        ({"point": "/mnt/models", "fstype": "nfs4", "sentinel": True, "free": 10**6}, "room"),
    ],
)
def test_what_is_wrong_with_a_mount(seen: dict[str, Any], kind: str) -> None:
    mount = Mount.model_validate({"path": "/mnt/models", "fstype": "nfs", "sentinel": ".mounted", "min_free": "1GB"})
    (fault,) = mount_faults([mount], {"/mnt/models": MountFacts(path="/mnt/models", **seen)})
    assert fault.kind == kind


def test_a_mount_of_certain_groups_is_not_asked_of_other_hosts() -> None:
    everywhere, gpus = Mount(path="/a"), Mount(path="/b", groups=("gpu_workers",))
    assert mounts_of((everywhere, gpus), ["core"]) == (everywhere,)
    assert mounts_of((everywhere, gpus), ["core", "gpu_workers"]) == (everywhere, gpus)
