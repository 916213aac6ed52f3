"""A deploy with a baseline: where one may be made, what is asked for both, and when the candidate comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contexts import STACK, STORE, WEB, image, make_context, make_deployment, seen

from canaryctl.config.policy import Policy
from canaryctl.deploy import baseline
from canaryctl.deploy.command import Command
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.outcome import Outcome
from canaryctl.errors import ApplyError, ConfigError, HostError
from canaryctl.plan.deployment import Deployment, Request
from canaryctl.plan.operations.operation import Operation
from canaryctl.plan.release import ImageFact, make_release

TWO = STACK.replace("variants: {", "variants: {other: {web: store, store: store}, ")
TWO += "default_variant: only\n"
DISPOSABLE = Policy(disposable=True)


class Both:
    """Two runs that are deployed by what is put in `ends`; what they were begun with."""

    def __init__(self, root: Path, policy: Policy) -> None:
        self.root, self.policy = root, policy
        self.contexts: list[RunContext] = []
        self.ends: dict[str, Any] = {}
        self.asked: list[Any] = []
        self.agrees = True

    def load(self, request: Request) -> Deployment:
        deployment = make_deployment(self.root, ("a",), stack=TWO, policy=self.policy, released=False)
        return replace(deployment, request=request, variant=deployment.stack.choose_variant(request.variant))

    @contextmanager
    def recorded(self, command: Command, request: Request, listeners: Any) -> Iterator[RunContext]:
        with make_context(self.load(request), command) as ctx:
            self.contexts.append(ctx)
            try:
                yield ctx
            except ConfigError as error:
                ctx.state.error, ctx.state.outcome = error, Outcome("error", 2)
            ctx.state.outcome = ctx.state.outcome or Outcome("passed", 0)
            ctx.run.finish(ctx.state.outcome.verdict, ctx.state.outcome.exit_code, ctx.state.error)

    def deploy(self, ctx: RunContext, agree: Any) -> None:
        ctx.facts = ctx.before = {"a": seen("a", current=False)}
        ctx.deployment = self.with_release(ctx.deployment)
        agree(ctx.plan())
        verdict, code, error, touched = self.ends.get(ctx.command.role or "", ("passed", 0, None, True))
        ctx.state.outcome, ctx.state.error = Outcome(verdict, code), error
        if touched:
            ctx.state.touched = {"a": {"start"}}

    def with_release(self, deployment: Deployment, *_: Any) -> Deployment:
        known: dict[str, ImageFact] = {"web": image("web", WEB), "store": image("store", STORE)}
        files = deployment.configuration.files.all
        return deployment.with_release(make_release(deployment.stack, deployment.variant, known, files))

    def confirm(self, changes: Any) -> bool:
        self.asked.append(changes)
        return self.agrees

    def run(self, **asked: Any) -> tuple[Any, Any]:
        project = make_deployment(self.root, ("a",), stack=TWO).project
        return baseline.deploy(Request(project, "prod", **asked), "other", (), self.confirm)


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    known = Both(tmp_path, DISPOSABLE)
    monkeypatch.setattr(baseline, "load_deployment", known.load)
    monkeypatch.setattr(baseline, "recorded", known.recorded)
    monkeypatch.setattr(baseline, "deploy_release", known.deploy)
    monkeypatch.setattr(baseline, "with_own_release", known.with_release)
    return known


def test_the_candidate_is_measured_by_the_baseline_and_never_goes_back_to_it(both: Both) -> None:
    measured, judged = both.run(images={"web": "shop-web:2"})
    first, second = both.contexts
    assert (first.command.role, first.deployment.variant, first.deployment.request.images) == ("baseline", "other", {})
    assert (second.command.role, second.deployment.variant) == ("candidate", "only")
    assert second.deployment.request.images == {"web": "shop-web:2"}
    assert second.state.yardstick == measured and second.state.before_baseline == first.before
    assert judged["baseline"] == measured["id"] and judged["comparison"]


def test_the_operator_is_asked_once_for_the_changes_of_both(both: Both) -> None:
    both.run()
    (asked,) = both.asked
    first, then = asked
    assert "baseline" in first and "candidate" in then
    starts = [change for change in asked[then] if change.stage == "start"]
    assert [(change.host, change.stage) for change in starts] == [("a", "start")]
    assert not set(asked[first]) & {change for change in asked[then] if change.stage in ("push", "render", "migrate")}
    assert all(isinstance(change, Operation) for change in asked[first])


def test_who_says_no_gets_neither(both: Both) -> None:
    both.agrees = False
    measured, judged = both.run()
    assert measured["exit_code"] == 2 and judged is None and not both.contexts[0].state.changed


# how the baseline ended: verdict, exit code, error, whether its services were started -> whether the candidate comes
@pytest.mark.parametrize(
    ("verdict", "code", "error", "started", "comes"),
    [
        ("passed", 0, None, True, True),
        ("passed", 0, None, False, True),  # it served already
        ("failed", 1, None, True, True),
        ("inconclusive", 4, None, True, True),
        ("failed", 6, ApplyError("unhealthy"), True, True),
        ("failed", 6, ApplyError("no room"), False, False),
        ("failed", 1, ApplyError("a contract"), False, False),
        ("error", 3, HostError("gone"), True, False),
        ("error", 5, ApplyError("locked"), False, False),
        ("interrupted", 130, ApplyError("interrupted"), True, False),
    ],
)
def test_the_candidate_comes_where_the_baseline_came_to_run(
    verdict: str, code: int, error: Exception | None, started: bool, comes: bool, both: Both
) -> None:
    both.ends = {"baseline": (verdict, code, error, started)}
    measured, judged = both.run()
    assert measured["verdict"] == verdict and (judged is not None) is comes
    if comes:
        assert len(both.contexts[1].run.document["warnings"]) == (verdict != "passed")


def test_where_data_is_to_be_kept_there_is_no_baseline(both: Both) -> None:
    both.policy = Policy()
    measured, judged = both.run()
    assert judged is None and measured["exit_code"] == 2 and "canary_disposable" in measured["error"]["hint"]
    assert not both.asked
