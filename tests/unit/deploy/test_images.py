"""Which images hosts are sent and which they pull, and what is said of those that cannot have them."""

from __future__ import annotations

from typing import Any

import pytest
from contexts import STACK, STORE, WEB, image, notes, seen, warnings

from canaryctl.config.policy import Policy
from canaryctl.deploy import images
from canaryctl.deploy.context import RunContext
from canaryctl.errors import ApplyError, CanaryError, HostError
from canaryctl.facts.host import HostFacts, ImageFacts
from canaryctl.images.destination import Destination
from canaryctl.images.push import Delivery
from canaryctl.plan.operations.push import Push
from canaryctl.plan.release import ImageFact, content_tag, make_release

SOURCE = "registry.example/web@sha256:1"
PUBLISHED = STACK.replace('web: {tag: "shop-web:1"}', 'web: {ref: "registry.example/web:1"}')


class Transfers:
    """What goes where; `faults` by host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pushed: dict[str, list[str]] = {}
        self.pulled: dict[str, list[str]] = {}
        self.faults: dict[str, Exception] = {}
        monkeypatch.setattr(images, "push_images", self.push)
        monkeypatch.setattr(images, "pull_images", self.pull)

    def push(self, to: Destination, facts: HostFacts, wanted: list[ImageFact], *given: Any, **how: Any) -> Delivery:
        self._reach(to)
        self.pushed[to.connection.host] = names = sorted(one.name for one in wanted)
        return Delivery(tuple(names), bytes=7, skipped=1)

    def pull(self, to: Destination, wanted: list[ImageFact], *given: Any, **how: Any) -> None:
        self._reach(to)
        self.pulled[to.connection.host] = sorted(one.name for one in wanted)

    def _reach(self, to: Destination) -> None:
        if to.connection.host in self.faults:
            raise self.faults[to.connection.host]


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> Transfers:
    return Transfers(monkeypatch)


def published(working: Any, *hosts: str, **policies: Policy) -> RunContext:
    """A run whose web image is published, and its store an image of this machine."""
    ctx: RunContext = working(*hosts, stack=PUBLISHED, policies=policies or dict.fromkeys(hosts, Policy()))
    known = {"web": image("web", WEB, source=SOURCE), "store": image("store", STORE)}
    files = ctx.deployment.configuration.files.all
    ctx.deployment = ctx.deployment.with_release(make_release(ctx.deployment.stack, "only", known, files))
    return observed(ctx)


def observed(ctx: RunContext, **has: tuple[str, ...]) -> RunContext:
    """Hosts as they are with these images of the release."""
    release = ctx.deployment.release
    ctx.facts = {
        host.name: seen(
            host.name,
            images=tuple(
                ImageFacts(one.id, (content_tag("shop", one),), one.layers)
                for one in release.images.values()
                if one.name in has.get(host.name, ())
            ),
        )
        for host in ctx.deployment.hosts
    }
    ctx.targets = ctx.deployment.targets(ctx.facts, ctx.nonce)
    return ctx


def pushes(ctx: RunContext) -> list[Push]:
    return ctx.plan().of(Push)


def rows(ctx: RunContext) -> dict[str, str]:
    return {row["host"]: row["status"] for row in ctx.run.document["stages"] if row["name"] == "push"}


# canary_delivery, what the host has -> what it pulls and what it is sent (a has both services)
@pytest.mark.parametrize(
    ("delivery", "has", "pulled", "pushed"),
    [
        ("auto", (), ["web"], ["store"]),
        ("push", (), [], ["store", "web"]),
        ("pull", (), ["web"], ["store"]),  # that pull cannot have it is found with the configuration
        ("auto", ("web",), [], ["store"]),
        ("auto", ("store",), ["web"], []),
        ("auto", ("store", "web"), [], []),
    ],
)
def test_a_host_pulls_what_is_published_and_is_sent_the_rest(
    delivery: str, has: tuple[str, ...], pulled: list[str], pushed: list[str], working: Any, transfers: Transfers
) -> None:
    ctx = observed(published(working, "a", a=Policy(delivery=delivery)), a=has)
    images.push(ctx, pushes(ctx))
    assert transfers.pulled == ({"a": pulled} if pulled else {})
    assert transfers.pushed == ({"a": pushed} if pushed else {})
    if not pulled and not pushed:
        assert not rows(ctx)  # it has no part in it
        return
    (row,) = [row for row in ctx.run.document["stages"] if row["name"] == "push"]
    assert row["status"] == "changed" and row.get("pulled") == ([SOURCE] if pulled else None)
    assert row["images"] == pushed and row["bytes"] == (7 if pushed else 0)


def test_every_host_goes_by_its_own_policy(working: Any, transfers: Transfers) -> None:
    ctx = published(working, "a", "b", a=Policy(), b=Policy(delivery="push"))
    images.push(ctx, pushes(ctx))
    assert transfers.pulled == {"a": ["web"]} and transfers.pushed == {"a": ["store"], "b": ["web"]}


@pytest.mark.parametrize(
    ("faults", "raises", "where"),
    [
        ({"a": ApplyError("no room", host="a")}, ApplyError, "a"),
        ({"a": ApplyError("no room", host="a"), "b": HostError("gone", "b")}, HostError, "b"),
        ({"b": ApplyError("no room", host="b"), "a": ApplyError("no room", host="a")}, ApplyError, "a"),
        ({"b": ValueError("an odd answer")}, HostError, "b"),
    ],
)
def test_the_others_go_on_and_the_worst_error_is_raised(
    faults: dict[str, Exception], raises: type[CanaryError], where: str, working: Any, transfers: Transfers
) -> None:
    ctx = observed(working("a", "b", "c"))
    transfers.faults = faults
    with pytest.raises(raises) as stopped:
        images.push(ctx, pushes(ctx))
    assert stopped.value.where == where and "c" in transfers.pushed
    known = {host for host, fault in faults.items() if isinstance(fault, CanaryError)}
    assert {host for host, status in rows(ctx).items() if status == "failed"} == known


def test_a_host_that_is_lost_is_lost_in_a_stage_that_is_named(working: Any, transfers: Transfers) -> None:
    ctx = published(working, "a")
    transfers.faults = {"a": HostError("the SSH connection was lost", "a", "see that it is up")}
    with pytest.raises(HostError, match="lost in push: the SSH connection was lost"):
        images.push(ctx, pushes(ctx))
    transfers.faults = {"a": HostError("what it says cannot be believed", "a", reason="agent")}
    with pytest.raises(HostError, match=r"^a: what it says"):
        images.push(ctx, pushes(ctx))


def test_what_a_push_would_send_is_reckoned_for_every_host(working: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = published(working, "a", "b")
    monkeypatch.setattr(images, "missing_bytes", lambda *given, **how: {"sha256:l1": 5, "sha256:l2": 6})
    found = images.bytes_to_push(ctx, ctx.plan())
    assert found["a"] == {
        "bytes": 11, "images": ["store"], "layers": ["sha256:l1", "sha256:l2"], "pulled": [SOURCE],
    }  # fmt: skip
    assert found["b"] == {"bytes": 0, "images": [], "layers": [], "pulled": [SOURCE]}


class Pruned:
    """What pruning a host answers."""

    images, releases = ("sha256:old",), ("r1", "r2")
    kept: dict[str, Any] = {"k" * 64: ("data.db",)}  # noqa: RUF012
    faults: dict[str, str] = {"image sha256:used": "a container uses it"}  # noqa: RUF012


def test_what_pruning_leaves_is_said_and_what_it_cannot_do_is_a_warning(working: Any, monkeypatch: Any) -> None:
    ctx = observed(working("a", "b"))

    def prune(to: Destination) -> Any:
        if to.connection.host == "b":
            raise HostError("gone", "b")
        return Pruned()

    monkeypatch.setattr(images, "prune_host", prune)
    images.prune(ctx)
    (row,) = [row for row in ctx.run.document["stages"] if row["name"] == "prune"]
    assert (row["host"], row["images"], row["releases"]) == ("a", ["sha256:old"], ["r1", "r2"])
    assert len(notes(ctx)) == 2 and len(warnings(ctx)) == 2
    assert [warning["where"] for warning in ctx.run.document["warnings"]] == ["a", "b"]
