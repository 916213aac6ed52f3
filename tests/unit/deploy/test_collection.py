"""What is brought home, what is written into the hosts' history, and what of it is hidden. This machine is the host."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contexts import MIGRATING, STACK, notes, release_document, seen, warnings

from canaryctl.deploy import collection
from canaryctl.deploy.command import DEPLOY, PROBE
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.state import Forced, Migration, Served
from canaryctl.errors import ConfigError, HostError
from canaryctl.facts.host import DockerFacts
from canaryctl.hosts import Completed

EARLIER = "e" * 64


def lines(root: Path, host: str) -> list[dict[str, Any]]:
    """The history of a host."""
    file = root / "hosts" / host / "shop/history.jsonl"
    return [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def deployed(working: Any) -> RunContext:
    """A deploy on three hosts, of which a served another release before."""
    ctx: RunContext = working("a", "b", "c")
    ctx.facts = {host: seen(host) for host in "abc"}
    ctx.before = {"a": seen("a", release_document(ctx.deployment, "a", id=EARLIER)), "b": seen("b")}
    ctx.state.release = Served(ctx.deployment.release.id, "only")
    return ctx


def test_each_host_has_a_line_of_what_it_served_before_and_what_came(deployed: RunContext, tmp_path: Path) -> None:
    collection.remember(deployed, "verdict", "passed")
    (first,), (second,) = lines(tmp_path, "a"), lines(tmp_path, "b")
    assert (first["what"], first["verdict"], first["from"], first["to"]) == (
        "verdict", "passed", EARLIER, deployed.deployment.release.id,
    )  # fmt: skip
    assert first["run"] == deployed.run.id and first["placed"] == ["store", "web"]
    assert second == {**first, "from": None}


@pytest.mark.parametrize("held_back", [(), ("c",), ("b", "c"), ("a", "b", "c")])
def test_hosts_that_were_spared_have_no_line_of_it(
    held_back: tuple[str, ...], deployed: RunContext, tmp_path: Path
) -> None:
    deployed.state.held_back = held_back
    collection.remember(deployed, "deploy", "failed")
    assert {host for host in "abc" if lines(tmp_path, host)} == set("abc") - set(held_back)


def test_a_baselines_lines_say_so_and_some_hosts_have_more(working: Any, tmp_path: Path) -> None:
    ctx = working("a", "b", command=replace(DEPLOY, role="baseline"))
    ctx.facts = {host: seen(host) for host in "ab"}
    ctx.state.forced = Forced("a party", ("too old",))
    collection.remember(ctx, "down", more={"a": {"volumes": ["data"]}})
    (first,), (second,) = lines(tmp_path, "a"), lines(tmp_path, "b")
    assert first["role"] == second["role"] == "baseline" and first["reason"] == "a party" and first["forced"] is True
    assert first["volumes"] == ["data"] and "volumes" not in second and first["verdict"] is None


def test_a_host_that_refuses_its_line_is_a_warning(deployed: RunContext, tmp_path: Path) -> None:
    (tmp_path / "hosts/b").mkdir(parents=True)
    (tmp_path / "hosts/b/shop").write_text("no folder")
    collection.remember(deployed, "deploy")
    assert [warning["where"] for warning in deployed.run.document["warnings"]] == ["b"]
    assert lines(tmp_path, "a") and lines(tmp_path, "c")


def test_an_interruption_is_remembered_where_something_was_touched(deployed: RunContext, tmp_path: Path) -> None:
    deployed.state.touched = {"a": {"render"}, "lost": {"start"}}
    deployed.fleet.close()  # as an interruption does
    collection.remember_interrupted(deployed, "interrupted", seconds=30)
    (line,) = lines(tmp_path, "a")
    assert (line["what"], line["verdict"]) == ("deploy", "interrupted") and not warnings(deployed)
    assert not lines(tmp_path, "b")


def test_whoever_interrupts_does_not_wait_for_a_host_that_does_not_answer(
    deployed: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.state.touched = {"a": {"start"}, "b": {"start"}}
    monkeypatch.setattr(collection, "_append", lambda *_, **__: ({}, {"b": HostError("gone", "b")}))
    collection.remember_interrupted(deployed, "interrupted", seconds=30)
    assert [warning["where"] for warning in deployed.run.document["warnings"]] == ["b"]


@pytest.mark.parametrize(
    ("reported", "state", "recorded"),
    [
        ({}, None, {"before": None, "after": None}),
        ("no mapping", None, {"before": None, "after": None}),
        ({"before": "1", "after": "2"}, Migration("1", "2"), {"before": "1", "after": "2"}),
        ({"before": 7, "after": ["x"]}, Migration(None, None), {"before": None, "after": None}),
        (
            {"before": "1", "after": "2", "backup": {"name": "x.dump"}},
            Migration("1", "2"),
            {"before": "1", "after": "2", "backup": {"name": "x.dump"}},
        ),
        ({"after": "2", "backup": "no mapping"}, Migration(None, "2"), {"before": None, "after": "2"}),
    ],
)
def test_of_what_a_migration_reports_only_what_can_be_believed_is_kept(
    reported: Any, state: Migration | None, recorded: dict[str, Any], deployed: RunContext
) -> None:
    collection.record_migration(deployed, reported)
    assert deployed.state.migration == state and deployed.run.document["migrations"] == recorded


def test_a_note_of_a_backup_is_the_runs(deployed: RunContext) -> None:
    collection.record_migration(deployed, {"after": "2", "backup_note": "there was nothing to dump"})
    assert notes(deployed) == ["there was nothing to dump"]


@pytest.mark.parametrize(
    ("stack", "migration", "observed"),
    [(STACK, None, "a"), (MIGRATING, Migration("1", "2"), "a"), (MIGRATING, None, "b")],
    ids=["no migrations", "known already", "its host is left out"],
)
def test_the_revision_is_asked_for_only_where_it_is_to_be_had(
    stack: str, migration: Migration | None, observed: str, working: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = working("a", "b", stack=stack)
    ctx.facts, ctx.state.migration = {observed: seen(observed)}, migration
    monkeypatch.setattr(ctx.fleet, "get", lambda host: pytest.fail("nobody is to be asked"))
    collection.read_migration(ctx)
    assert ctx.state.migration == migration and not warnings(ctx)


class Revision:
    """A connection whose database says at which revision it is."""

    def run(self, command: str, *, timeout: float) -> Completed:
        return Completed(0, b"INFO a line of its log\n0007 (head)\n", b"")


@pytest.mark.parametrize(
    ("known", "state"),
    [(None, Migration("0007", "0007")), (Migration("0009", None), Migration("0009", "0007"))],
    ids=["nothing was migrated", "a backup of an unknown revision was restored"],
)
def test_the_revision_that_is_read_takes_nothing_back(
    known: Migration | None, state: Migration, working: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = working("a", stack=MIGRATING)
    ctx.facts, ctx.state.migration = {"a": seen("a")}, known
    ctx.run.set("migrations", {"before": known and known.before, "after": None, "restored": {"from": "x.dump"}})
    monkeypatch.setattr(ctx.fleet, "get", lambda host: Revision())
    collection.read_migration(ctx)
    assert ctx.state.migration == state
    assert ctx.run.document["migrations"] == {**vars(state), "restored": {"from": "x.dump"}}


def test_what_hosts_serve_is_told_in_words(deployed: RunContext) -> None:
    document = release_document(deployed.deployment, "a", id=EARLIER)
    deployed.facts = {"a": seen("a", document, running=("web", "store")), "b": seen("b")}
    first, second = collection.serving(deployed).split("; ")
    assert first.startswith("a: ") and EARLIER[:12] in first and first.endswith("store, web")
    assert second.startswith("b: ") and EARLIER[:12] not in second and second.endswith("running nothing")


def test_another_environment_that_serves_there_is_not_reported_as_dead(deployed: RunContext) -> None:
    here = seen("a", running=("web",))
    dev = replace(here.containers[0], project="shop-dev", service="db")
    stopped = replace(dev, service="old", state="exited")
    elsewhere = replace(dev, project="other-dev")
    deployed.facts = {"a": replace(here, containers=(dev, stopped, elsewhere))}
    assert collection.serving(deployed) == "a: no release, running nothing of shop-prod; shop-dev runs db"


def test_nobody_says_that_nothing_runs_where_docker_hangs(deployed: RunContext) -> None:
    deployed.facts = {"a": seen("a", docker=DockerFacts(running=False, silent=True))}
    assert collection.serving(deployed) == "a: no release, and Docker does not say what runs"


def test_a_host_that_is_lost_is_named_too(deployed: RunContext) -> None:
    deployed.facts, deployed.state.failures = {}, {"a": HostError("gone", "a")}
    assert collection.serving(deployed) == "a: not known, it cannot be reached"


def test_secrets_of_the_stack_are_hidden_in_what_containers_tell() -> None:
    containers = [{"Config": {"Env": ["TOKEN=abc=d", "TOKENS=x", "PATH=/bin", "TOKEN"]}}, {"Config": None}, {}]
    first, *_ = collection.without_secrets(containers, ["TOKEN"])
    assert first["Config"]["Env"] == ["TOKEN=[secret]", "TOKENS=x", "PATH=/bin", "TOKEN=[secret]"]


def test_the_record_hides_secrets_from_when_they_are_known(deployed: RunContext) -> None:
    collection.know_secrets(deployed)
    deployed.run.note("it says: to be hidden")
    events = (deployed.run.path / "events.jsonl").read_text()
    assert "it says: " in events and "to be hidden" not in events


@pytest.mark.parametrize("needed", [True, False])
def test_a_missing_secret_stops_only_where_it_is_needed(needed: bool, working: Any) -> None:
    ctx = working("a", command=PROBE, variables={"canary_secrets": {}})
    if needed:
        with pytest.raises(ConfigError):
            collection.know_secrets(ctx)
    else:
        collection.know_secrets(ctx, needed=False)
        assert len(warnings(ctx)) == 1


class Answers:
    """What hosts tell when evidence is collected; an exception is what one cannot tell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **by_host: Any) -> None:
        self.by_host = by_host
        monkeypatch.setattr(collection, "collect_from", self.collect)
        monkeypatch.setattr(RunContext, "observe", lambda ctx, again: None)

    def collect(self, connection: Any, *given: Any, **how: Any) -> Any:
        answer = self.by_host[connection.host]
        if isinstance(answer, Exception):
            raise answer
        return {"logs": {}, "containers": [], "compose": "", "memory": {}, "became_healthy": {}, **answer}


def test_nothing_that_a_host_answers_keeps_the_others_evidence_away(
    deployed: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection.know_secrets(deployed)
    Answers(
        monkeypatch,
        a={"logs": {"web": "ready to be hidden\n"}, "compose": "services: {}"},
        b=HostError("gone", "b"),
        c=KeyError("odd"),
    )
    collection.collect(deployed)
    assert deployed.state.collected
    rows = {row["host"]: row["status"] for row in deployed.run.document["stages"]}
    assert rows == {"a": "ok", "b": "failed", "c": "failed"} and list(deployed.run.document["logs"]) == ["a"]
    kept = deployed.run.path / "hosts/a"
    assert (kept / "compose.yml").exists() and "hidden" not in (kept / "logs/web.log").read_text()


def test_evidence_is_collected_though_hosts_cannot_be_observed_again(
    deployed: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Answers(monkeypatch, a={}, b={}, c={})

    def observe(ctx: RunContext, *, again: bool) -> None:
        raise OverflowError("int too large")

    monkeypatch.setattr(RunContext, "observe", observe)
    collection.collect(deployed)
    assert len(deployed.run.document["stages"]) == 3 and len(warnings(deployed)) == 1
