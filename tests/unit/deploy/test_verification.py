"""What a run's verdict proves for the hosts' history: a release that passed everywhere, or a part."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contexts import seen

from canaryctl.deploy.command import PROBE
from canaryctl.deploy.state import RunState
from canaryctl.deploy.verification import proven, require_running
from canaryctl.errors import HostError
from canaryctl.facts.change import ChangeFacts
from canaryctl.facts.host import ContainerFacts, DockerFacts, HostFacts, ReleaseFacts, StateFacts

A, B = "a" * 64, "b" * 64


def context(**served: tuple[str, str]) -> Any:
    """Two hosts have services; `served` is release and environment by host."""
    facts = {
        host: HostFacts(
            host, state=StateFacts(current="x", releases={"x": ReleaseFacts({"id": release, "environment": of})})
        )
        for host, (release, of) in served.items()
    }
    request = SimpleNamespace(only=(), skip=(), contracts=True)
    hosts = [SimpleNamespace(name=host) for host in ("h", "i")]
    deployment = SimpleNamespace(
        request=request,
        placed={"h": ("web",), "i": ("web",)},
        hosts=hosts,
        environment=SimpleNamespace(name="prod"),
        project=SimpleNamespace(probes=None),
        stack=SimpleNamespace(probes_file=Path("probes.yml")),
    )
    run = SimpleNamespace(note=lambda text: None)
    return SimpleNamespace(deployment=deployment, facts=facts, state=RunState(), run=run)


@pytest.mark.parametrize(
    ("served", "verdict"),
    [
        ({"h": (A, "prod"), "i": (A, "prod")}, "passed"),
        ({"h": (A, "prod"), "i": (B, "prod")}, "partial"),
        ({"h": (A, "prod"), "i": (A, "staging")}, "partial"),
    ],
)
def test_a_rollback_proves_a_release_only_where_all_hosts_serve_it(
    served: dict[str, tuple[str, str]], verdict: str
) -> None:
    assert proven(context(**served), serves=A) == verdict


def test_a_run_that_lost_a_host_proves_no_release() -> None:
    lost = context(h=(A, "prod"))
    assert proven(lost) == "passed"
    lost.state.failures = {"i": HostError("gone", "i")}
    assert proven(lost) == "partial"


def directory(deployed: Any, host: str) -> str:
    return str(deployed.targets[host].rendering.directory)


@pytest.mark.parametrize(
    ("a", "b", "spared", "others"),
    [
        ("the release", "the release", {}, ""),
        ("another", "the release", {}, "a"),
        ("another", "another", {}, "a, b"),
        ("another", "the release", {"held_back": ("a",)}, ""),
        ("another", "the release", {"start_failures": {"a": HostError("x")}}, ""),
        ("another", "the release", {"failures": {"a": HostError("x")}}, ""),
        ("nothing", "the release", {}, ""),
    ],
)
def test_what_is_judged_must_be_what_runs(a: str, b: str, spared: dict[str, Any], others: str, working: Any) -> None:
    ctx = working("a", "b")
    ctx.facts = {host: seen(host) for host in "ab"}
    ctx.targets = ctx.deployment.targets(ctx.facts, ctx.nonce)
    current = {"another": "x" * 72, "nothing": None}
    ctx.facts = {
        host: HostFacts(host, state=StateFacts(current=current.get(was, directory(ctx, host))))
        for host, was in {"a": a, "b": b}.items()
    }
    for name, value in spared.items():
        setattr(ctx.state, name, value)
    require_running(ctx)
    error = ctx.state.other_release
    assert (error.where if error else "") == others
    assert ctx.state.verdict == ("failed" if others else "passed")
    assert len(ctx.run.document["warnings"]) == bool(others)


def test_a_host_that_has_gone_back_by_itself_says_why_another_release_is_current(working: Any) -> None:
    ctx = working("a")
    ctx.facts = {"a": seen("a")}
    ctx.targets = ctx.deployment.targets(ctx.facts, ctx.nonce)
    change = ChangeFacts(ctx.run.id, run=ctx.run.id, confirm=30.0, phase="returned", result="not confirmed within 30 s")
    ctx.facts = {"a": HostFacts("a", state=StateFacts(current="x" * 72, change=change))}
    require_running(ctx)
    assert "went back to nothing by itself: not confirmed within 30 s" in ctx.state.other_release.what


@pytest.mark.parametrize(
    ("running", "containers", "says"),
    [
        (True, [("web", "running", None, "always", "healthy"), ("store", "running", None, "", "")], ""),
        (
            True,
            [("web", "exited", 143, "always", ""), ("store", "running", None, "", "")],
            "web is exited (exit code 143)",
        ),
        (True, [("web", "exited", 0, "unless-stopped", ""), ("store", "running", None, "", "")], "web is exited"),
        (
            True,
            [("web", "restarting", 1, "always", ""), ("store", "running", None, "", "")],
            "web is restarting (exit code 1)",
        ),
        (True, [("web", "running", None, "", "")], "store is not there"),
        (True, [("web", "running", None, "", ""), ("store", "exited", 0, "no", "")], ""),  # it has done its work
        (True, [("web", "running", None, "", ""), ("store", "exited", 1, "no", "")], "store is exited (exit code 1)"),
        (True, [("web", "running", None, "", ""), ("store", "exited", 0, "no", "starting")], "store is exited"),
        (
            True,
            [("web", "exited", 1, "", ""), ("web", "running", None, "", ""), ("store", "running", None, "", "")],
            "",
        ),
        (False, [], "Docker does not answer, so what runs is not known"),
    ],
)
def test_nothing_passes_that_does_not_run(running: bool, containers: list[Any], says: str, working: Any) -> None:
    """Docker was killed while the evidence was collected, and left everything stopped: that passed once."""
    ctx = working("a")
    ctx.facts = {"a": seen("a")}
    ctx.targets = ctx.deployment.targets(ctx.facts, ctx.nonce)
    assert set(ctx.targets["a"].rendering.services) == {"web", "store"}
    there = tuple(
        ContainerFacts(
            id=f"{number}",
            project=ctx.deployment.compose_project,
            service=service,
            state=state,
            exit_code=code,
            restart=restart,
            health=health,
            config_files=f"/opt/canaryctl/shop/releases/{directory(ctx, 'a')}/compose.yml",
        )
        for number, (service, state, code, restart, health) in enumerate(containers)
    )
    state = StateFacts(
        current=directory(ctx, "a"), releases={directory(ctx, "a"): ReleaseFacts({"environment": "prod"})}
    )
    ctx.facts = {"a": seen("a", docker=DockerFacts(running=running), containers=there, state=state)}
    require_running(ctx)
    error = ctx.state.other_release
    assert (error.what.partition("a: ")[2] if error else "") == says
    ctx.state.other_release, ctx.command = None, PROBE
    require_running(ctx)
    assert ctx.state.other_release is None, "canaryctl probe judges by its probes alone"
