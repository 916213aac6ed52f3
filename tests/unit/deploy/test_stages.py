"""What Ansible is given for each stage, what is touched by it, and what of its results is an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contexts import MIGRATING, notes, release_document, seen

from canaryctl.ansible import StageResult, StageRun
from canaryctl.ansible.results import Status
from canaryctl.deploy import stages
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.state import Migration
from canaryctl.errors import ApplyError, CanaryError, ConfigError, HostError, LockedError
from canaryctl.facts.change import ChangeFacts, Serving
from canaryctl.facts.host import DockerFacts
from canaryctl.plan.operations.migrate import Migrate
from canaryctl.plan.operations.provision import Provision
from canaryctl.plan.plan import Plan


class Played:
    """What Ansible was given, and what it answers: `results` by host, all well where none is named."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stages: list[tuple[str, list[str]]] = []
        self.variables: dict[str, Any] = {}
        self.results: dict[str, StageResult] = {}
        self.stats: dict[str, Any] = {}
        self.fault: Exception | None = None
        monkeypatch.setattr(stages, "_run_stage", self.run)

    def run(self, ctx: RunContext, stage: str, hosts: Any, variables: dict[str, Any]) -> StageRun:
        self.stages.append((stage, list(hosts)))
        self.variables = variables
        if self.fault:
            raise self.fault
        well = {host: StageResult(stage, host, "changed", 1.0) for host in hosts}
        return StageRun({**well, **self.results}, self.stats, Path())

    @property
    def hosts(self) -> dict[str, Any]:
        """`canary_hosts` of the last stage."""
        return dict(self.variables["canary_hosts"])


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(monkeypatch)


@pytest.fixture
def ready(working: Any) -> Callable[..., RunContext]:
    """A run on a (with the store) and b that has planned."""

    def make(**known: Any) -> RunContext:
        ctx: RunContext = working("a", "b", **known)
        ctx.facts = {host: seen(host, become="sudo" if host == "b" else "none") for host in ("a", "b")}
        ctx.targets = ctx.deployment.targets(ctx.facts, ctx.nonce)
        return ctx

    return make


def failed(host: str, detail: dict[str, Any] | None = None, status: Status = "failed") -> StageResult:
    return StageResult("start", host, status, 1.0, f"{host} would not", detail)


# what each stage is given


def test_starting_names_what_is_started_on_each_host(ready: Any, played: Played) -> None:
    ctx = ready()
    assert stages.start(ctx, ["a", "b"], Plan()) == {}
    assert played.stages == [("start", ["a", "b"])]
    assert (played.variables["canary_stack"], played.variables["canary_environment"]) == ("shop", "prod")
    assert played.variables["canary_project"] == "shop-prod" and played.variables["canary_migration"] is None
    a, b = played.hosts["a"], played.hosts["b"]
    assert (a["become"], b["become"]) == (False, True) and a["release"] == ctx.targets["a"].rendering.directory
    assert sorted(a["services"]) == ["store", "web"] and b["services"] == ["web"]
    assert a["replaces"] == [] and a["wait_timeout"] == 180
    assert (Path(a["source"]) / "compose.yml").read_text() == ctx.targets["a"].rendering.compose
    assert Path(a["source"]).is_relative_to(ctx.scratch)


def test_the_migration_runs_once_with_the_database_up(ready: Any, played: Played) -> None:
    ctx = ready(stack=MIGRATING)
    played.stats = {"canary_migration_result": {"before": "1", "after": "2"}}
    stages.migrate(ctx, Migrate("b", "never migrated from here", "web", "up", {"a": ("shop-old",)}))
    assert played.stages == [("migrate", ["a", "b"])]  # a has the database
    given = played.variables["canary_migration"]
    assert (given["service"], given["host"], given["database"], given["upgrade"]) == ("web", "a", ["store"], "up")
    assert given["database_hosts"] == {"store": ["a"]} and given["backup"]["host"] == "a"
    assert given["marker"]["run"] == ctx.run.id and given["marker"]["release"] == ctx.deployment.release.id
    assert given["marker"]["backward_compatible"] is False
    assert played.hosts["a"]["replaces"] == ["shop-old"] and played.hosts["b"]["replaces"] == []
    assert ctx.state.migration == Migration("1", "2")


def test_a_migration_whose_backup_is_left_out_does_not_begin(ready: Any, played: Played) -> None:
    ctx = ready(stack=MIGRATING)
    del ctx.facts["a"]
    with pytest.raises(ApplyError) as refused:
        stages.migrate(ctx, Migrate("b", "x", "web", "up"))
    assert (refused.value.stage, refused.value.host) == ("migrate", "a") and not played.stages


@pytest.mark.parametrize(
    ("operations", "restart", "variables"),
    [
        ([Provision("a", "x", "docker")], False, {"canary_hosts": {"a": {"gpu": False}}}),
        (
            [Provision("a", "x", "docker", True, "12.4"), Provision("b", "x", "docker", True, "12.10")],
            False,
            {"canary_hosts": {"a": {"gpu": True}, "b": {"gpu": True}}, "canary_cuda": "12.10"},
        ),
        (
            [Provision("a", "x", "docker"), Provision("a", "x", "nvidia-container-toolkit", True)],
            True,
            {"canary_hosts": {"a": {"gpu": True}}, "canary_allow_docker_restart": True},
        ),
    ],
)
def test_provisioning_is_told_of_gpus_and_of_what_it_may(
    operations: list[Provision], restart: bool, variables: dict[str, Any], ready: Any, played: Played
) -> None:
    stages.provision(ready(allow_docker_restart=restart), operations)
    assert played.variables == variables and played.stages == [("provision", sorted(variables["canary_hosts"]))]


def test_a_restore_says_what_its_role_reports(ready: Any, played: Played) -> None:
    played.stats = {"canary_restore_result": {"until": "now"}}
    assert stages.restore(ready(), ["a"], {"name": "x.dump"}) == {"until": "now"}
    assert played.variables["canary_restore"] == {"name": "x.dump"}
    played.stats = {"canary_restore_result": "what no role of ours says"}
    assert stages.restore(ready(), ["a"], {"name": "x.dump"}) == {}


@pytest.mark.parametrize(
    ("serves", "projects", "leaves"),
    [
        ("prod", ("shop-prod", "shop-prod"), []),
        ("canary", ("shop-canary", "shop-canary"), ["current", "started.json", "change.json"]),
        ("canary", ("shop-canary", "shop-prod"), ["current", "started.json"]),  # the host would bring ours back
        ("prod", ("shop-prod", "shop-canary"), []),
        (None, (), []),
    ],
)
def test_what_another_environment_serves_stays_its_own(
    serves: str | None, projects: tuple[str, ...], leaves: list[str], ready: Any, played: Played
) -> None:
    ctx = ready()
    facts = seen("a", *([release_document(ctx.deployment, "a", environment=serves)] if serves else []))
    ends = [Serving("r", project) for project in projects]
    change = ChangeFacts("other", confirm=9.0, phase="started", to=ends[0], back=ends[1]) if ends else None
    ctx.facts["a"] = replace(facts, state=replace(facts.state, change=change))
    stages.down(ctx, volumes=False)
    assert played.variables["canary_hosts"]["a"]["leaves"] == leaves


def test_what_this_run_has_brought_goes_with_it(ready: Any, played: Played) -> None:
    """As with canary_on_failure: what was seen of the host is what it served before."""
    ctx = ready()
    ctx.facts["a"] = seen("a", release_document(ctx.deployment, "a", environment="canary"))
    ctx.state.touched["a"] = {"start"}
    stages.down(ctx, volumes=False)
    assert played.variables["canary_hosts"]["a"]["leaves"] == []


@pytest.mark.parametrize("volumes", [True, False])
def test_hosts_are_stopped_and_one_whose_docker_is_away_is_told(volumes: bool, ready: Any, played: Played) -> None:
    ctx = ready()
    ctx.facts["b"] = seen("b", docker=DockerFacts(running=False, error="no answer within 10 s"))
    with pytest.raises(ApplyError, match=r"was not stopped: Docker does not answer \(no answer") as error:
        stages.down(ctx, volumes=volumes)
    assert (error.value.where, error.value.stage) == ("b", "down")
    assert played.stages == [("down", ["a"])] and played.variables["canary_down_volumes"] is volumes
    ctx.facts = {"b": seen("b", docker=None)}
    stages.down(ctx, volumes=volumes)
    assert len(played.stages) == 1


def test_secrets_are_written_once_and_for_their_owner_alone(ready: Any) -> None:
    ctx = ready()
    path = stages._secrets_source(ctx)
    assert path and path.stat().st_mode & 0o777 == 0o600 and b"TOKEN=" in path.read_bytes()
    assert stages._secrets_source(ctx) == path and path.is_relative_to(ctx.scratch)


def test_a_stack_without_secrets_has_no_file_of_them(ready: Any) -> None:
    ctx = ready(stack=MIGRATING.replace("secrets: [TOKEN]\n", ""))
    assert stages._secrets_source(ctx) is None


# what a stage may leave behind


@pytest.mark.parametrize(
    ("stage", "touches"),
    [
        ("provision", False),
        ("render", True),
        ("migrate", True),
        ("start", True),
        ("rollback", True),
        ("restore", True),
        ("down", True),
    ],
)
@pytest.mark.parametrize(
    ("fault", "check", "counts"),
    [
        (None, False, True),
        (HostError("gone"), False, True),
        (RuntimeError("boom"), False, True),
        (ConfigError("Ansible could not start"), False, False),
        (None, True, False),
    ],
    ids=["done", "lost", "a fault of ours", "never began", "a rehearsal"],
)
def test_what_a_stage_has_begun_on_counts_as_touched(
    stage: str, touches: bool, fault: Exception | None, check: bool, counts: bool, ready: Any, played: Played
) -> None:
    ctx, played.fault = ready(check=check), fault
    ctx.state.touched = {"b": {"render"}}
    try:
        stages._ansible(ctx, stage, ["a", "b"], {})
    except (CanaryError, RuntimeError) as raised:
        assert raised is fault
    touched = touches and counts
    assert ctx.state.touched.get("a", set()) == ({stage} if touched else set())
    assert ctx.state.touched["b"] == {"render"} | ({stage} if touched else set())


# what went wrong


def test_lost_hosts_come_before_those_that_failed(ready: Any, played: Played) -> None:
    played.results = {"a": failed("a"), "b": failed("b", status="unreachable")}
    ctx = ready()
    faults = stages.start(ctx, ["a", "b"], Plan())
    assert [(host, type(fault)) for host, fault in faults.items()] == [("b", HostError), ("a", ApplyError)]
    assert [(row["host"], row["status"]) for row in ctx.run.document["stages"]] == [("a", "failed"), ("b", "failed")]
    with pytest.raises(HostError):
        stages.down(ctx, volumes=False)


def test_each_of_several_failures_names_the_others() -> None:
    faults = stages._faults("start", {"a": failed("a"), "b": failed("b"), "c": StageResult("start", "c", "ok", 1.0)})
    assert set(faults) == {"a", "b"} and "(also on b)" in faults["a"].what and "(also on a)" in faults["b"].what
    assert all(isinstance(fault, ApplyError) and fault.stage == "start" for fault in faults.values())


@pytest.mark.parametrize("detail", [None, {}, {"hint": ""}, {"hint": "free some room"}])
def test_a_failure_says_what_to_do(detail: dict[str, Any] | None) -> None:
    (fault,) = stages._faults("start", {"a": failed("a", detail)}).values()
    assert fault.hint and (fault.hint == "free some room") is bool(detail and detail["hint"])


def test_a_lock_that_a_role_finds_lost_stops_all() -> None:
    with pytest.raises(LockedError) as lost:
        stages._faults("start", {"a": failed("a"), "b": failed("b", {"lost": {"holder": "eve@desk"}})})
    assert lost.value.where == "b" and "eve@desk" in lost.value.what


@pytest.mark.parametrize(
    ("services", "said"),
    [
        ({"web": {"health_output": "refused", "log": "one\ntwo\n"}}, ["refused", "one", "two"]),
        ({"web": {"log": "\n".join(str(number) for number in range(30))}}, [str(number) for number in range(20, 30)]),
        ({"web": {"health_output": "", "log": None}}, []),
        ({"web": "what no role of ours says"}, []),
        ("what no role of ours says", []),
        (None, []),
    ],
)
def test_what_services_said_last_is_in_the_error(services: Any, said: list[str]) -> None:
    found = [line.strip() for line in stages.last_words({"services": services}) if line.startswith("  ")]
    assert found == said


def test_what_somebody_wrote_into_a_release_is_said_to_be_kept(ready: Any, played: Played) -> None:
    ctx = ready()
    gaps: dict[str, dict[str, float | None]] = {"web": {"from": 1.0, "until": 3.0}}
    played.results = {"a": StageResult("start", "a", "changed", 1.0, gaps=gaps, kept=("/kept/a",))}
    stages.start(ctx, ["a"], Plan())
    assert "/kept/a" in notes(ctx)[0]
    assert [(one.host, one.service, one.seconds) for one in ctx.state.downtime] == [("a", "web", 2.0)]


def test_a_diff_is_from_what_is_current_there_to_what_is_rendered(ready: Any, tmp_path: Path) -> None:
    ctx = ready()
    del ctx.facts["b"]  # it has sudo
    assert stages.diff_release(ctx, "a").startswith("--- a: current/compose.yml")  # nothing there: all of it is new
    there = tmp_path / "hosts/a/shop/current/compose.yml"
    there.parent.mkdir(parents=True)
    there.write_text(ctx.targets["a"].rendering.compose)
    assert stages.diff_release(ctx, "a") == ""
    there.write_text("# gone\n" + ctx.targets["a"].rendering.compose)
    assert "-# gone" in stages.diff_release(ctx, "a").splitlines()


def test_every_stage_has_a_deadline_of_what_the_stack_allows_and_more(working: Any) -> None:
    ctx = working("a", stack=MIGRATING)
    timeout, migration = ctx.deployment.stack.start_timeout, ctx.deployment.stack.migrations.timeout
    names = ("provision", "render", "migrate", "start", "rollback", "restore", "down")
    found = {name: stages.deadline_of(ctx, name, 1) for name in names}
    assert found["start"] == found["rollback"] == found["render"] + timeout > found["down"] - 1
    assert found["migrate"] == found["restore"] + timeout + migration > 3600
    assert stages.deadline_of(ctx, "start", 41) == 3 * found["start"]  # Ansible takes twenty hosts at a time
