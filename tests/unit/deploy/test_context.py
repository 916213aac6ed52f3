"""What the steps of a run share: which hosts are lost, what the run is about, and what it says of that."""

from __future__ import annotations

from typing import Any

import pytest
from contexts import STACK, notes, release_document, seen, warnings

from canaryctl.deploy import backuphost
from canaryctl.deploy.command import PROBE
from canaryctl.deploy.context import without_mac
from canaryctl.errors import ApplyError, HostError

EARLIER = "e" * 64
MIGRATING = "migrations: {service: web, upgrade: up, current: now, database: store, backup: store}\n"


@pytest.mark.parametrize("lost", [(), ("a",), ("a", "b")])
def test_hosts_that_are_lost_stop_a_change_and_are_all_named(lost: tuple[str, ...], working: Any) -> None:
    ctx = working("a", "b", "c")
    ctx.state.failures = {host: HostError("gone", host, "see whether it is up.") for host in lost}
    if not lost:
        ctx.require_all_hosts()
        return
    with pytest.raises(HostError) as stopped:
        ctx.require_all_hosts()
    assert stopped.value.where == ", ".join(lost) and "--limit" in stopped.value.hint


@pytest.mark.parametrize(
    ("served", "about", "named", "warned"),
    [
        ({"a": EARLIER, "b": EARLIER}, EARLIER, EARLIER, 0),
        ({"a": EARLIER, "b": "f" * 64}, None, EARLIER, 1),
        ({"a": None, "b": EARLIER}, EARLIER, EARLIER, 0),
        ({"a": None, "b": None}, None, "", 0),
    ],
)
def test_a_run_without_a_release_of_its_own_is_about_what_hosts_serve(
    served: dict[str, str | None], about: str | None, named: str, warned: int, working: Any
) -> None:
    ctx = working("a", "b", command=PROBE, released=False)
    ctx.facts = {
        host: seen(host, release_document(ctx.deployment, host, id=identity)) if identity else seen(host)
        for host, identity in served.items()
    }
    ctx.record_served()
    assert ctx.state.release.id == ctx.run.document["release"]["id"] == about
    assert ctx.names["release"] == named and len(warnings(ctx)) == warned


def test_what_a_host_served_before_is_of_when_nobody_else_changed_it_any_more(working: Any) -> None:
    ctx = working("a", "b")
    ctx.before = {"a": seen("a", release_document(ctx.deployment, "a", id=EARLIER)), "b": seen("b")}
    assert [ctx.served_before(host) for host in ("a", "b", "lost")] == [EARLIER, None, None]
    ctx.state.before_baseline = ctx.before
    ctx.forget_before()
    assert ctx.served_before("a") is None and not ctx.state.before_baseline


def test_a_plan_is_recorded_with_the_release_it_leads_to(working: Any) -> None:
    ctx = working("a")
    ctx.facts = {"a": seen("a", current=False)}
    plan = ctx.plan()
    ctx.record_plan(plan)
    ctx.record_plan(plan.only("start"), done=plan.only("push"))
    document, release = ctx.run.document, ctx.deployment.release
    assert {change["stage"] for change in document["plan"]["changes"]} == {"push", "start"}
    assert ctx.state.release.id == document["release"]["id"] == ctx.names["release"] == release.id


def test_a_change_is_known_from_when_it_begins(working: Any) -> None:
    ctx = working("a")
    with pytest.raises(ApplyError), ctx.changing():
        assert ctx.state.changed
        raise ApplyError("no room")
    assert ctx.run.document["changed_from"] and ctx.run.document["changed_until"]


def test_a_note_is_made_once(working: Any) -> None:
    ctx = working("a")
    for text in ("one", "one", "two"):
        ctx.run.note_once(text)
    assert notes(ctx) == ["one", "two"]


def test_keyed_digests_of_secrets_are_no_evidence() -> None:
    document = {"state": {"secrets": "mac", "secret_macs": {"TOKEN": "mac"}, "current": "r"}, "arch": "amd64"}
    assert without_mac(document) == {"state": {"current": "r"}, "arch": "amd64"}
    assert without_mac({}) == {"state": {}}


@pytest.mark.parametrize(
    ("migrations", "host"),
    [("", None), (MIGRATING, "a"), (MIGRATING.replace(", backup: store", ""), None)],
    ids=["no migrations", "with a backup", "without"],
)
def test_the_backup_is_made_where_the_database_is(migrations: str, host: str | None, working: Any) -> None:
    ctx = working("a", "b", stack=STACK + migrations)
    assert backuphost.host_of(ctx) == host
    given = backuphost.variables(ctx)
    assert (given and given["host"], given and given["service"]) == (host, "store" if host else None)
    ctx.facts = {"b": seen("b")}
    if host:
        with pytest.raises(ApplyError):
            backuphost.require_host(ctx)
    else:
        backuphost.require_host(ctx)
