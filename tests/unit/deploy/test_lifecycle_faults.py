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
from canaryctl.errors import ApplyError, CanaryError, ConfigError, HostError
from canaryctl.evidence.run import Run


class Plan:
    """Something of every stage is to be done on one host."""

    changes, problems, notes, left_alone = ("all",), (), (), ()

    def hosts(self, stage: str) -> list[str]:
        return ["h"] if stage != "provision" else []


class FakeWork:
    """What the steps share, without hosts."""

    def __init__(self, scene: Any, run: Run) -> None:
        self.scene, self.run, self.done = scene, run, []
        self.facts: dict[str, Any] = {"h": SimpleNamespace(sudo=False)}
        self.verdict, self.judged, self.collected, self.policy_acted = "passed", False, False, False
        self.touched: dict[str, set[str]] = {}
        self.failures: dict[str, HostError] = {}
        self.start_failures: dict[str, CanaryError] = {}
        self.other_release = None
        self.lock = None

    def __enter__(self) -> FakeWork:
        return self

    def __exit__(self, *_: object) -> None:
        self.done.append("closed")

    def observe(self, *, again: bool = False) -> None:
        pass

    def require_all_hosts(self) -> None:
        pass

    def plan(self) -> Plan:
        return Plan()

    def record_plan(self, plan: Plan, *, earlier: bool = False) -> None:
        pass


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[FakeWork, dict[str, Any]]]:
    """Deploy with some steps failing (step to exception); what was worked with, and run.json as written."""

    def deploy(faults: dict[str, BaseException], verdict: str = "passed") -> tuple[FakeWork, dict[str, Any]]:
        work: list[FakeWork] = []

        def step(name: str, then: Callable[[FakeWork], Any] = lambda work: None) -> Callable[..., Any]:
            def take(*_: Any, **__: Any) -> Any:
                work[0].done.append(name)
                if name in faults:
                    raise faults[name]
                return then(work[0])

            return take

        def made(scene: Any, run: Run) -> FakeWork:
            work.append(FakeWork(scene, run))
            return work[0]

        def touch(work: FakeWork) -> dict[str, CanaryError]:
            work.touched = {"h": {"start"}}
            return {}

        def collect(work: FakeWork) -> None:
            work.collected = True

        def judge(work: FakeWork) -> str:
            return verdict

        scene = SimpleNamespace(
            request=SimpleNamespace(check=False, wait=False),
            project=SimpleNamespace(runs=tmp_path, root=tmp_path, hooks=tmp_path / "hooks"),
            environment=SimpleNamespace(name="prod", vars={}, hosts={}, directory=tmp_path),
            stack=SimpleNamespace(stack="shop"),
            variant="only",
            policy=SimpleNamespace(on_failure="rollback", serial=()),
            check_all=lambda: None,
            signing=Signing(tmp_path / "nobody", required=False),
            signer=None,
            passwords={},
        )
        monkeypatch.setattr(lifecycle, "Scene", lambda request: scene)
        monkeypatch.setattr(lifecycle, "Work", made)
        monkeypatch.setattr(lifecycle, "roll_back", step("roll_back"))
        monkeypatch.setattr(lifecycle.notify, "tell", lambda *_: None)
        for room, name in (
            *((promotion, "promote"), (collection, "know_secrets"), (locking, "take"), (contracts, "record_layers")),
            *((waves, "foretold"), (verification, "check_probes"), (contracts, "check_here"), (hooks, "before_deploy")),
            *(
                (contracts, "check_on_hosts"),
                (mounts, "require_mounts"),
                (collection, "read_migration"),
                (images, "push"),
            ),
            *((images, "prune"), (hooks, "after_deploy"), (hooks, "after_error"), (stages, "migrate")),
            (collection, "serving"),
        ):
            monkeypatch.setattr(room, name, step(name, (lambda work: ()) if name == "foretold" else lambda work: None))
        monkeypatch.setattr(locking, "take_to_prune", step("take_to_prune", lambda work: True))
        monkeypatch.setattr(gpus, "wait_for_others", lambda work, plan: plan)
        monkeypatch.setattr(stages, "render", step("render", touch))
        monkeypatch.setattr(waves, "start", step("start", touch))
        monkeypatch.setattr(in_flight, "_across", lambda work: [])
        monkeypatch.setattr(collection, "collect", step("collect", collect))
        monkeypatch.setattr(verification, "probe", step("probe", judge))
        monkeypatch.setattr(verification, "proven", lambda work: work.verdict)
        monkeypatch.setattr(verification, "require_running", lambda work: None)

        def remember(work: FakeWork, what: str, verdict: str | None = None) -> None:
            step(f"remember {what} {verdict}")()

        monkeypatch.setattr(collection, "remember", remember)
        monkeypatch.setattr(
            collection, "remember_interrupted", lambda work, verdict, seconds: remember(work, "", verdict)
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
        assert work[0].done[-1] == "closed" and (written.parent / "MANIFEST.sha256").exists()
        return work[0], json.loads(written.read_text())

    return deploy


AFTER_RENDER = ("migrate", "require_mounts", "start", "remember deploy None", "read_migration", "probe", "collect")


@pytest.mark.parametrize("fault", [RuntimeError("boom"), KeyError("h"), OverflowError("int too large")], ids=repr)
@pytest.mark.parametrize("step", AFTER_RENDER)
def test_a_fault_of_ours_takes_the_way_of_any_failure(step: str, fault: Exception, deployed: Any) -> None:
    work, document = deployed({step: fault})
    assert work.done.count("roll_back") == 1 and work.done.count("after_error") == 1
    assert "remember deploy failed" in work.done and "collect" in work.done
    assert work.done.index("remember deploy failed") < work.done.index("roll_back")
    assert document["verdict"] == "error" and document["exit_code"] == 1
    assert type(fault).__name__ in document["error"]["what"]


@pytest.mark.parametrize("step", ["push", "check_on_hosts"])
def test_before_anything_serves_otherwise_there_is_nothing_to_roll_back(step: str, deployed: Any) -> None:
    work, document = deployed({step: RuntimeError("boom")})
    assert "roll_back" not in work.done and "collect" in work.done and document["exit_code"] == 1


@pytest.mark.parametrize("second", ["collect", "remember deploy failed", "roll_back", "after_error", "serving"])
@pytest.mark.parametrize("first", [RuntimeError("first"), ApplyError("first")], ids=repr)
def test_a_second_fault_hides_neither_the_first_nor_what_follows(second: str, first: Exception, deployed: Any) -> None:
    work, document = deployed({"start": first, second: KeyError("second")})
    assert "first" in document["error"]["what"]
    assert {"collect", "remember deploy failed", "roll_back", "after_error"} <= set(work.done)
    assert work.done.count("roll_back") == 1
    if second in work.done:
        assert any("second" in warning["what"] for warning in document["warnings"])


@pytest.mark.parametrize("fault", [RuntimeError("boom"), ApplyError("boom"), HostError("boom")], ids=repr)
def test_the_policy_acts_once_even_where_it_fails(fault: Exception, deployed: Any) -> None:
    work, document = deployed({"roll_back": fault}, verdict="failed")
    assert work.done.count("roll_back") == 1
    assert document["verdict"] == "failed" and document["exit_code"] == 1
    assert any("boom" in warning["what"] for warning in document["warnings"])


def test_a_fault_after_a_failed_verdict_does_not_act_twice(deployed: Any) -> None:
    work, document = deployed({"after_deploy": RuntimeError("boom")}, verdict="failed")
    assert work.done.count("roll_back") == 1 and document["exit_code"] == 1


def test_what_has_passed_stays_though_pruning_fails(deployed: Any) -> None:
    work, document = deployed({"prune": RuntimeError("boom")})
    assert "remember verdict passed" in work.done and "roll_back" not in work.done
    assert document["verdict"] == "error" and "after_error" in work.done


def test_an_interruption_is_remembered_and_nothing_else_is_done(deployed: Any) -> None:
    work, document = deployed({"probe": KeyboardInterrupt()})
    assert work.done[-2:] == ["remember  interrupted", "closed"] and document["exit_code"] == 130
    assert "roll_back" not in work.done


def test_a_rollback_needs_no_room_for_its_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").write_text("a file where the evidence would go")
    scene: Any = SimpleNamespace(
        request=SimpleNamespace(check=False),
        project=SimpleNamespace(runs=tmp_path / "runs", root=tmp_path),
        environment=SimpleNamespace(name="prod", vars={}, directory=tmp_path, hosts={}),
        stack=SimpleNamespace(stack="shop"),
        variant="only",
        passwords={},
        policy=SimpleNamespace(on_failure="rollback"),
    )
    monkeypatch.setattr(lifecycle, "Work", FakeWork)
    monkeypatch.setattr(lifecycle.notify, "tell", lambda *_: None)
    with pytest.raises(ConfigError, match="evidence cannot be written"), lifecycle._recorded(scene, "rollback", ()):
        pass
    with lifecycle._recorded(scene, "rollback", (), spare=tmp_path / "spare") as work:
        assert "thrown away" in work.run.document["warnings"][0]["what"]
    assert work.run.document["verdict"] == "passed"
    assert list((tmp_path / "spare").glob("prod/*/run.json"))
