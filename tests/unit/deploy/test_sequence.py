"""The order of a deploy, and what each command asks, does and leaves: on real plans of hosts as they were observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contexts import MIGRATING, OTHER, STORE, WEB, make_deployment, release_document, seen

from canaryctl.config.policy import Policy
from canaryctl.deploy import (
    collection,
    context,
    contracts,
    hooks,
    images,
    in_flight,
    lifecycle,
    locking,
    mounts,
    promotion,
    rollback,
    sequence,
    signing,
    stages,
    verification,
    volumes,
    waves,
)
from canaryctl.errors import ApplyError, CanaryError, HostError
from canaryctl.facts import HostFacts
from canaryctl.facts.host import DockerFacts, ImageFacts
from canaryctl.hosts.observation import Observation
from canaryctl.plan.deployment import Deployment
from canaryctl.plan.plan import Plan

Story = Callable[..., tuple[list[str], dict[str, Any]]]
COMPOSE = "2.30.0"
BARE = DockerFacts(running=False)
# What each command does on hosts that have Docker and nothing else, in order; the record and its own checks apart.
CHECKED = ["check_probes", "check_here"]
APPLIED = ["push", "check_on_hosts", "render", "migrate", "start"]
JUDGED = ["read_migration", "probe", "collect", "require_running"]


def fresh(host: str, **more: Any) -> HostFacts:
    """A host that can run containers and has nothing of ours."""
    return seen(host, current=False, **{"compose": COMPOSE, **more})


def provided(host: str) -> HostFacts:
    """The same with the images of the release."""
    named = (ImageFacts(WEB, ("shop/web:x",)), ImageFacts(STORE, ("shop/store:x",)))
    return fresh(host, images=named)


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """Tell a command over hosts that are observed as given; the steps it took, with what it asked, and run.json."""

    def tell(
        command: Callable[[Any, list[str]], dict[str, Any]],
        *observed: Sequence[HostFacts],
        lost: Mapping[str, HostError] | None = None,
        faults: Mapping[str, BaseException] | None = None,
        verdict: str = "passed",
        deployment: Deployment | None = None,
    ) -> tuple[list[str], dict[str, Any]]:
        steps: list[str] = []
        looks = list(observed)

        def step(module: Any, name: str, result: Any = None) -> None:
            def take(*_: Any, **__: Any) -> Any:
                steps.append(name)
                if faults and name in faults:
                    raise faults[name]
                return result

            monkeypatch.setattr(module, name, take)

        for module, names in (
            (promotion, "promote"),
            (signing, "announce own_trust"),
            (collection, "know_secrets read_migration collect"),
            (locking, "take"),
            (contracts, "record_layers check_here check_on_hosts"),
            (hooks, "before_deploy after_deploy after_error"),
            (mounts, "require_mounts"),
            (stages, "provision render migrate down"),
            (images, "push prune"),
            (waves, "start"),
            (verification, "check_probes require_running"),
            (rollback, "find_images settle_database go"),
        ):
            for name in names.split():
                step(module, name)
        step(verification, "probe", verdict)
        step(volumes, "down", {})
        step(locking, "take_to_prune", True)
        monkeypatch.setattr(in_flight, "_across", lambda ctx: [])
        monkeypatch.setattr(
            collection,
            "remember",
            lambda ctx, what, verdict=None, more=None, confirms=False: steps.append(f"remember {what} {verdict}"),
        )

        def observe(*_: Any, **__: Any) -> Observation:
            steps.append("observe")
            facts = looks.pop(0) if len(looks) > 1 else looks[0]
            return Observation({one.host: one for one in facts}, dict(lost or {}))

        monkeypatch.setattr(context, "observe", observe)
        known = deployment or replace(
            make_deployment(tmp_path, stack=MIGRATING, policy=Policy(provision="auto")), given=True
        )
        (tmp_path / "probes.yml").write_text("- {name: Health, kind: tcp, on: web, port: 1}\n")
        monkeypatch.setattr(lifecycle, "load_deployment", lambda request: known)
        return steps, command(known.request, steps)

    return tell


def deploying(*answers: bool) -> Callable[[Any, list[str]], dict[str, Any]]:
    """Deploy, where the operator answers so when asked; yes once the answers are used up."""
    waiting = list(answers)

    def run(request: Any, steps: list[str]) -> dict[str, Any]:
        def confirm(plan: Plan) -> bool:
            steps.append("asked")
            return waiting.pop(0) if waiting else True

        return sequence.deploy(request, (), confirm)

    return run


def staging(name: str) -> Callable[[Any, list[str]], dict[str, Any]]:
    return lambda request, _: sequence.stage(name, request, ())


def only(steps: Sequence[str], *kinds: str) -> list[str]:
    """The steps of these kinds, in their order."""
    return [step for step in steps if step in kinds]


def test_a_deploy_checks_asks_changes_judges_and_remembers_in_this_order(story: Story) -> None:
    steps, document = story(deploying(), [fresh("a"), fresh("b")])
    assert [step for step in steps if step not in ("record_layers", "require_mounts")] == [
        *("promote", "announce", "know_secrets", "observe", "take", *CHECKED, "asked", "before_deploy"),
        *APPLIED,
        "remember deploy None",
        *JUDGED,
        *("remember verdict passed", "take_to_prune", "prune", "after_deploy"),
    ]
    assert (document["verdict"], document["exit_code"]) == ("passed", 0)
    assert steps.index("require_mounts") < steps.index("migrate"), "what uses a mount does not run before it is there"


def test_what_the_operator_does_not_want_changes_nothing(story: Story) -> None:
    steps, document = story(deploying(False), [fresh("a"), fresh("b")])
    assert not only(steps, *APPLIED, "before_deploy", "after_deploy") and document["exit_code"] == 2
    assert "nothing was changed" in document["error"]["what"] and document["changed_from"] is None


@pytest.mark.parametrize(("fault", "code"), [(ApplyError("x"), 6), (HostError("x", "a"), 3)], ids=["apply", "host"])
@pytest.mark.parametrize("step", ["check_probes", "check_here", "before_deploy"])
def test_a_fault_before_the_first_change_changes_nothing(
    story: Story, step: str, fault: CanaryError, code: int
) -> None:
    steps, document = story(deploying(), [fresh("a"), fresh("b")], faults={step: fault})
    assert not only(steps, *APPLIED, "after_error") and document["exit_code"] == code


def test_a_host_that_is_lost_before_stops_it_by_name(story: Story) -> None:
    steps, document = story(deploying(), [fresh("a")], lost={"b": HostError("no route", "b")})
    assert not only(steps, "take", *APPLIED) and document["exit_code"] == 3
    assert document["error"]["where"] == "b"


def test_problems_stop_it_before_anybody_is_asked(story: Story) -> None:
    other_platform = fresh("a", arch="arm64")
    steps, document = story(deploying(), [other_platform, fresh("b")])
    assert "asked" not in steps and not only(steps, *APPLIED) and document["exit_code"] == 6
    assert "linux/arm64" in document["error"]["what"]


@pytest.mark.parametrize("after", ["as foreseen", "otherwise"])
def test_a_plan_that_no_longer_fits_after_provisioning_is_shown_again(story: Story, after: str) -> None:
    bare = [fresh("a", docker=BARE), fresh("b")]
    strange = fresh("a", docker=DockerFacts(running=True), containers=(stray(),))
    then = [fresh("a"), fresh("b")] if after == "as foreseen" else [strange, fresh("b")]
    steps, document = story(deploying(), bare, then)
    assert only(steps, "asked", "provision", "push") == [
        "asked",
        "provision",
        *["asked"] * (after != "as foreseen"),
        "push",
    ]
    provisioned = [change for change in document["plan"]["changes"] if change["stage"] == "provision"]
    assert provisioned, "what was done of the first plan stays in the record"


def test_a_plan_refused_after_provisioning_says_that_something_was_changed(story: Story) -> None:
    bare = [fresh("a", docker=BARE), fresh("b")]
    strange = fresh("a", docker=DockerFacts(running=True), containers=(stray(),))
    steps, document = story(deploying(True, False), bare, [strange, fresh("b")])
    assert not only(steps, *APPLIED) and "nothing more is changed" in document["error"]["what"]
    assert document["changed_from"] is not None


def stray() -> Any:
    """A container of the environment that has no place there: something else to remove than was foreseen."""
    (container,) = seen("a", running=("left-over",)).containers
    return container


@pytest.mark.parametrize(("verdict", "code"), [("failed", 1), ("inconclusive", 4)])
def test_what_does_not_pass_is_remembered_and_removes_nothing(story: Story, verdict: str, code: int) -> None:
    steps, document = story(deploying(), [fresh("a"), fresh("b")], verdict=verdict)
    assert f"remember verdict {verdict}" in steps and not only(steps, "prune") and document["exit_code"] == code


@pytest.mark.parametrize(
    ("name", "observed", "done"),
    [
        ("push", fresh, ["check_here", "push", "check_on_hosts"]),
        ("render", fresh, ["render"]),
        ("migrate", None, []),
        ("start", None, []),
    ],
)
def test_a_stage_alone_does_its_own_part_and_no_more(
    story: Story, name: str, observed: Callable[[str], HostFacts] | None, done: list[str]
) -> None:
    facts = observed or fresh
    steps, document = story(staging(name), [facts("a"), facts("b")])
    assert only(steps, "check_here", *APPLIED) == done
    if not done:  # what it stands on is not there
        assert document["exit_code"] == 2 and f"{name} needs " in document["error"]["what"]
        assert document["changed_from"] is None
    else:
        assert document["exit_code"] == 0 and f"remember {name} None" in steps
        assert ("collect" in steps) == (name != "push"), "images alone change nothing that could be collected"


def test_a_stage_alone_is_neither_asked_about_nor_judged(story: Story) -> None:
    steps, _ = story(staging("render"), [fresh("a"), fresh("b")])
    assert not only(steps, "asked", "probe", "prune", "after_deploy", "before_deploy")


@pytest.mark.parametrize("missing", ["a", "b"])
def test_provisioning_asks_for_no_image_and_no_secret(story: Story, missing: str) -> None:
    facts = [fresh(host, docker=BARE) if host == missing else fresh(host) for host in ("a", "b")]
    steps, document = story(lambda request, _: sequence.provision(request, ()), facts)
    assert only(steps, "take", "provision", "collect") == ["take", "provision", "collect"]
    assert not only(steps, "know_secrets", "promote") and document["exit_code"] == 0


def serving(deployment: Deployment, host: str, **changed: Any) -> HostFacts:
    """A host that serves the deployment's release."""
    return seen(host, release_document(deployment, host, **changed), running=deployment.placed[host], compose=COMPOSE)


def test_probing_takes_no_lock_and_changes_nothing(story: Story, tmp_path: Path) -> None:
    known = make_deployment(tmp_path)
    steps, document = story(
        lambda request, _: sequence.probe(request, ()), [serving(known, "a"), serving(known, "b")], deployment=known
    )
    assert steps == ["know_secrets", "observe", "check_probes", *JUDGED]
    assert document["changed_from"] is None and document["release"]["id"] == known.release.id


def test_hosts_that_serve_different_releases_are_a_warning(story: Story, tmp_path: Path) -> None:
    known = make_deployment(tmp_path)
    other = release_document(known, "b") | {"id": "f" * 64}
    facts = [serving(known, "a"), seen("b", other, running=("web",))]
    steps, document = story(lambda request, _: sequence.collect(request, ()), facts, deployment=known)
    assert steps == ["know_secrets", "observe", "collect"] and document["release"]["id"] is None
    assert "different releases" in document["warnings"][0]["what"]


def test_the_last_logs_come_home_before_services_go_down(story: Story, tmp_path: Path) -> None:
    known = make_deployment(tmp_path)
    steps, document = story(
        lambda request, _: sequence.down(request, (), volumes=False),
        [serving(known, "a"), serving(known, "b")],
        deployment=known,
    )
    assert steps == ["know_secrets", "observe", "take", "collect", "down", "remember down None"]
    assert document["changed_from"] is not None


def passed(identity: str) -> dict[str, Any]:
    return {
        **{"time": "2026-03-09T12:00:00Z", "who": "ann@desk", "environment": "prod", "what": "verdict"},
        **{"from": None, "to": identity, "verdict": "passed", "run": "r"},
    }


@pytest.mark.parametrize("answer", [True, False])
def test_a_rollback_is_planned_shown_and_judged(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    known = make_deployment(tmp_path)
    before = release_document(make_deployment(tmp_path, identities={"web": OTHER, "store": STORE}), "a")
    facts = []
    for host in ("a", "b"):
        placed = list(known.placed[host])
        documents = [release_document(known, host), before | {"placed": placed}]
        facts.append(seen(host, *documents, history=[passed(before["id"])], running=placed, compose=COMPOSE))
    monkeypatch.setattr(signing, "settle_rollback", lambda ctx, release: None)
    asked: list[Plan] = []

    def confirm(plan: Plan) -> bool:
        asked.append(plan)
        return answer

    trust = signing.own_trust

    def roll_back(request: Any, _: list[str]) -> dict[str, Any]:
        monkeypatch.setattr(signing, "own_trust", trust)
        return sequence.rollback(request, None, (), confirm)

    steps, document = story(roll_back, facts, deployment=known.for_request(known.request))
    assert len(asked) == 1 and asked[0].operations, "what it would do is shown first"
    assert document["release"]["id"] == before["id"]
    assert only(steps, "find_images", "settle_database", "check_probes") == [
        *("find_images", "settle_database", "check_probes")
    ], "what could stop it is known before anybody is asked"
    assert only(steps, "go", "probe") == (["go", "probe"] if answer else [])
    assert document["exit_code"] == (0 if answer else 2)
