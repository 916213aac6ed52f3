"""Whatever goes wrong in a deploy once hosts were changed, the policy acts, once, and the record is finished.

The run's directory is real. Of our own steps those that would reach a host are replaced; one of them fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from canaryctl.config.signing import Signing
from canaryctl.deploy import (
    changes,
    collection,
    contracts,
    gpus,
    hooks,
    images,
    in_flight,
    lifecycle,
    locking,
    mounts,
    promotion,
    sequence,
    stages,
    verification,
    waves,
)
from canaryctl.deploy.command import ROLLBACK, Command
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.state import RunState
from canaryctl.errors import ApplyError, CanaryError, ConfigError, HostError
from canaryctl.evidence.run import Run
from canaryctl.plan.operations.migrate import Migrate
from canaryctl.plan.operations.push import Push
from canaryctl.plan.operations.render import Render
from canaryctl.plan.operations.start import StartService
from canaryctl.plan.plan import Plan
from canaryctl.plan.release import ImageFact

# Something of every stage but provision is to be done on one host.
PLAN = Plan(
    (
        Push("h", "not there", ImageFact("web", "sha256:0", "web:1", 1, (), "linux/amd64"), "t"),
        Render("h", "not there", "d", ("web",)),
        Migrate("h", "never", "web", "up"),
        StartService("h", "not there", "web"),
    )
)


class FakeContext:
    """What the steps share, without hosts."""

    changing = RunContext.changing

    def __init__(self, deployment: Any, run: Run, command: Command, listeners: Any = ()) -> None:
        self.deployment, self.run, self.command, self.done = deployment, run, command, []
        self.facts: dict[str, Any] = {"h": SimpleNamespace(sudo=False)}
        self.state, self.fleet, self.signer = RunState(), SimpleNamespace(locks=None), None

    def __enter__(self) -> FakeContext:
        return self

    def __exit__(self, *_: object) -> None:
        self.done.append("closed")

    def check(self) -> None:
        pass

    def observe(self, *, again: bool = False) -> None:
        pass

    def require_all_hosts(self) -> None:
        pass

    def plan(self) -> Plan:
        return PLAN

    def record_plan(self, plan: Plan, *, done: Plan | None = None) -> None:
        pass


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[FakeContext, dict[str, Any]]]:
    """Deploy with some steps failing (step to exception); what was worked with, and run.json as written."""

    def deploy(faults: dict[str, BaseException], verdict: str = "passed") -> tuple[FakeContext, dict[str, Any]]:
        made_for: list[FakeContext] = []

        def step(name: str, then: Callable[[FakeContext], Any] = lambda ctx: None) -> Callable[..., Any]:
            def take(*_: Any, **__: Any) -> Any:
                made_for[0].done.append(name)
                if name in faults:
                    raise faults[name]
                return then(made_for[0])

            return take

        def made(*given: Any) -> FakeContext:
            made_for.append(FakeContext(*given))
            return made_for[0]

        def touch(ctx: FakeContext) -> dict[str, CanaryError]:
            ctx.state.touched = {"h": {"start"}}
            return {}

        def collect(ctx: FakeContext) -> None:
            ctx.state.collected = True

        def judge(ctx: FakeContext) -> str:
            return verdict

        deployment = SimpleNamespace(
            request=SimpleNamespace(check=False, wait=False),
            project=SimpleNamespace(runs=tmp_path, root=tmp_path, hooks=tmp_path / "hooks"),
            environment=SimpleNamespace(name="prod", vars={}, hosts={}, directory=tmp_path),
            stack=SimpleNamespace(stack="shop"),
            variant="only",
            policy=SimpleNamespace(on_failure="rollback", serial=()),
            configuration=SimpleNamespace(signing=Signing(tmp_path / "nobody", required=False)),
            passwords={},
        )
        monkeypatch.setattr(lifecycle, "load_deployment", lambda request: deployment)
        monkeypatch.setattr(lifecycle, "RunContext", made)
        monkeypatch.setattr(lifecycle, "roll_back", step("roll_back"))
        monkeypatch.setattr(lifecycle.notify, "tell", lambda *_: None)
        for room, name in (
            *((promotion, "promote"), (collection, "know_secrets"), (locking, "take"), (contracts, "record_layers")),
            *((verification, "check_probes"), (contracts, "check_here"), (hooks, "before_deploy")),
            *(
                (contracts, "check_on_hosts"),
                (mounts, "require_mounts"),
                (collection, "read_migration"),
                (images, "push"),
            ),
            *((images, "prune"), (hooks, "after_deploy"), (hooks, "after_error"), (stages, "migrate")),
            *((collection, "serving"), (sequence, "_foretold"), (changes, "wait_for_returns")),
        ):
            monkeypatch.setattr(room, name, step(name, (lambda ctx: ()) if name == "_foretold" else lambda ctx: None))
        monkeypatch.setattr(locking, "take_to_prune", step("take_to_prune", lambda ctx: True))
        monkeypatch.setattr(gpus, "wait_for_others", lambda ctx, plan: plan)
        monkeypatch.setattr(stages, "render", step("render", touch))
        monkeypatch.setattr(waves, "start", step("start", touch))
        monkeypatch.setattr(in_flight, "_across", lambda ctx: [])
        monkeypatch.setattr(collection, "collect", step("collect", collect))
        monkeypatch.setattr(verification, "probe", step("probe", judge))
        monkeypatch.setattr(verification, "proven", lambda ctx: ctx.state.verdict)
        monkeypatch.setattr(verification, "require_running", lambda ctx: None)

        def remember(ctx: FakeContext, what: str, verdict: str | None = None, **_: Any) -> None:
            step(f"remember {what} {verdict}")()

        monkeypatch.setattr(collection, "remember", remember)
        monkeypatch.setattr(
            collection, "remember_interrupted", lambda ctx, verdict, seconds: remember(ctx, "", verdict)
        )
        raised: BaseException | None = None
        try:
            sequence.deploy(SimpleNamespace(check=False), (), lambda plan: True)  # type: ignore[arg-type]
        except BaseException as error:
            raised = error
        step_name, first = next(iter(faults.items()))
        ours = not isinstance(first, (CanaryError, KeyboardInterrupt)) and step_name != "roll_back"
        assert raised is (first if ours else None)
        (written,) = tmp_path.glob("prod/*/run.json")
        assert made_for[0].done[-1] == "closed" and (written.parent / "MANIFEST.sha256").exists()
        return made_for[0], json.loads(written.read_text())

    return deploy


AFTER_RENDER = ("migrate", "require_mounts", "start", "remember deploy None", "read_migration", "probe", "collect")


@pytest.mark.parametrize("fault", [RuntimeError("boom"), KeyError("h"), OverflowError("int too large")], ids=repr)
@pytest.mark.parametrize("step", AFTER_RENDER)
def test_a_fault_of_ours_takes_the_way_of_any_failure(step: str, fault: Exception, deployed: Any) -> None:
    ctx, document = deployed({step: fault})
    assert ctx.done.count("roll_back") == 1 and ctx.done.count("after_error") == 1
    assert "remember deploy failed" in ctx.done and "collect" in ctx.done
    assert ctx.done.index("remember deploy failed") < ctx.done.index("roll_back")
    assert document["verdict"] == "error" and document["exit_code"] == 1
    assert type(fault).__name__ in document["error"]["what"]


@pytest.mark.parametrize("step", ["push", "check_on_hosts"])
def test_before_anything_serves_otherwise_there_is_nothing_to_roll_back(step: str, deployed: Any) -> None:
    ctx, document = deployed({step: RuntimeError("boom")})
    assert "roll_back" not in ctx.done and "collect" in ctx.done and document["exit_code"] == 1


@pytest.mark.parametrize("second", ["collect", "remember deploy failed", "roll_back", "after_error", "serving"])
@pytest.mark.parametrize("first", [RuntimeError("first"), ApplyError("first")], ids=repr)
def test_a_second_fault_hides_neither_the_first_nor_what_follows(second: str, first: Exception, deployed: Any) -> None:
    ctx, document = deployed({"start": first, second: KeyError("second")})
    assert "first" in document["error"]["what"]
    assert {"collect", "remember deploy failed", "roll_back", "after_error"} <= set(ctx.done)
    assert ctx.done.count("roll_back") == 1
    if second in ctx.done:
        assert any("second" in warning["what"] for warning in document["warnings"])


@pytest.mark.parametrize("fault", [RuntimeError("boom"), ApplyError("boom"), HostError("boom")], ids=repr)
def test_the_policy_acts_once_even_where_it_fails(fault: Exception, deployed: Any) -> None:
    ctx, document = deployed({"roll_back": fault}, verdict="failed")
    assert ctx.done.count("roll_back") == 1
    assert document["verdict"] == "failed" and document["exit_code"] == 1
    assert any("boom" in warning["what"] for warning in document["warnings"])


def test_a_fault_after_a_failed_verdict_does_not_act_twice(deployed: Any) -> None:
    ctx, document = deployed({"after_deploy": RuntimeError("boom")}, verdict="failed")
    assert ctx.done.count("roll_back") == 1 and document["exit_code"] == 1


def test_what_has_passed_stays_though_pruning_fails(deployed: Any) -> None:
    ctx, document = deployed({"prune": RuntimeError("boom")})
    assert "remember verdict passed" in ctx.done and "roll_back" not in ctx.done
    assert document["verdict"] == "error" and "after_error" in ctx.done


def test_an_interruption_is_remembered_and_nothing_else_is_done(deployed: Any) -> None:
    ctx, document = deployed({"probe": KeyboardInterrupt()})
    assert ctx.done[-2:] == ["remember  interrupted", "closed"] and document["exit_code"] == 130
    assert "roll_back" not in ctx.done


def test_a_rollback_needs_no_room_for_its_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").write_text("a file where the evidence would go")
    deployment: Any = SimpleNamespace(
        request=SimpleNamespace(check=False),
        project=SimpleNamespace(runs=tmp_path / "runs", root=tmp_path),
        environment=SimpleNamespace(name="prod", vars={}, directory=tmp_path, hosts={}),
        stack=SimpleNamespace(stack="shop"),
        variant="only",
        passwords={},
        policy=SimpleNamespace(on_failure="rollback"),
    )
    monkeypatch.setattr(lifecycle, "RunContext", FakeContext)
    monkeypatch.setattr(lifecycle.notify, "tell", lambda *_: None)
    with pytest.raises(ConfigError, match="evidence cannot be written"), lifecycle._recorded(deployment, ROLLBACK, ()):
        pass
    with lifecycle._recorded(deployment, ROLLBACK, (), spare=tmp_path / "spare") as ctx:
        assert "thrown away" in ctx.run.document["warnings"][0]["what"]
    assert ctx.run.document["verdict"] == "passed"
    assert list((tmp_path / "spare").glob("prod/*/run.json"))
