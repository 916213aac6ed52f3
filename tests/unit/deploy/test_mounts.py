"""Declared mounts are looked at again right before something runs on them."""

from __future__ import annotations

from typing import Any

import pytest
from contexts import STACK, seen

from canaryctl.deploy import mounts
from canaryctl.errors import ApplyError, CanaryError, HostError
from canaryctl.facts.audit import MountFacts

MOUNTED = STACK + "mounts: [{path: /data}, {path: /only-stores, groups: [stores]}]\n"
DATA, STORES = MountFacts("/data", "/data", "nfs4"), MountFacts("/only-stores", "/only-stores", "ext4")
GONE = MountFacts("/data", "/", "ext4")  # the disk below answers in its place


@pytest.mark.parametrize(
    ("hosts", "a", "b", "error"),
    [
        ("ab", (DATA, STORES), (DATA,), None),
        ("ab", (DATA,), (DATA,), (ApplyError, "a")),
        ("ab", (DATA, STORES), (GONE,), (ApplyError, "b")),
        ("a", (DATA, STORES), (GONE,), None),  # nothing is to run on b
        ("b", (), (DATA,), None),
        ("ab", (DATA, STORES), HostError("gone", "b"), (HostError, "b")),
        ("ab", (GONE, STORES), HostError("gone", "b"), (ApplyError, "a")),
    ],
)
def test_a_mount_that_is_gone_stops_what_would_run_on_it(
    hosts: str, a: Any, b: Any, error: tuple[type[CanaryError], str] | None, working: Any, monkeypatch: Any
) -> None:
    ctx = working("a", "b", stack=MOUNTED)
    ctx.facts = {host: seen(host) for host in "ab"}
    ctx.targets = ctx.deployment.targets(ctx.facts, ctx.nonce)

    def look(connection: Any, wanted: list[dict[str, str]]) -> dict[str, MountFacts]:
        assert [one["path"] for one in wanted] == ["/data", *(["/only-stores"] if connection.host == "a" else [])]
        found = {"a": a, "b": b}[connection.host]
        if isinstance(found, Exception):
            raise found
        return {mount.path: mount for mount in found}

    monkeypatch.setattr(mounts, "look_at_mounts", look)
    if error is None:
        mounts.require_mounts(ctx, list(hosts))
    else:
        with pytest.raises(error[0]) as stopped:
            mounts.require_mounts(ctx, list(hosts))
        assert stopped.value.where == error[1]


def test_without_mounts_nobody_is_asked(working: Any, monkeypatch: Any) -> None:
    ctx = working("a")
    ctx.facts = {"a": seen("a")}
    ctx.targets = ctx.deployment.targets(ctx.facts, ctx.nonce)
    monkeypatch.setattr(mounts, "look_at_mounts", lambda *_: pytest.fail("nobody is to be asked"))
    mounts.require_mounts(ctx, ["a"])
