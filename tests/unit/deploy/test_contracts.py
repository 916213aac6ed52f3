"""Which images are checked where, and what stops a release. Docker is not asked: what checks find is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contexts import STACK, STORE, WEB, image, notes, seen

from canaryctl.contract import Job, Row
from canaryctl.deploy import contracts
from canaryctl.deploy.context import RunContext
from canaryctl.errors import CanaryError, ContractError, UnjudgedError
from canaryctl.facts.gpu import GpuFacts
from canaryctl.facts.host import HostFacts, ImageFacts
from canaryctl.plan.operations.push import Push
from canaryctl.plan.plan import Plan
from canaryctl.plan.release import content_tag, make_release

GPU_STACK = STACK.replace(
    'web: {tag: "shop-web:1"}',
    'web: {tag: "shop-web:1", gpu: optional, contract: {commands: [{run: nvidia-smi, where: gpu}]}}',
)
CHANGED = Plan((Push("a", "new", image("web", WEB), "t"),))


class Checks:
    """What checking answers, by image; `known` are images whose checks are remembered; what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.verdicts: dict[str, str] = {}
        self.known: set[str] = set()
        self.jobs: list[Job] = []
        monkeypatch.setattr(contracts, "check_all", self.check_all)
        monkeypatch.setattr(contracts, "is_known", lambda cache, job: job.subject.name in self.known)

    def check_all(self, jobs: list[Job], cache: Any, on_row: Callable[[Row], None]) -> list[Row]:
        self.jobs += jobs
        found = [
            Row(job.subject.name, "user", self.verdicts.get(job.subject.name, "passed"), where=job.place.name)
            for job in jobs
        ]
        for row in found:
            on_row(row)
        return found

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Image and place."""
        return [(job.subject.name, job.place.name) for job in self.jobs]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    return Checks(monkeypatch)


def having(ctx: RunContext, host: str, *names: str, **more: Any) -> HostFacts:
    """A host that has these images of the release already."""
    release = ctx.deployment.release
    found = [release.images[name] for name in names]
    kept = [ImageFacts(one.id, (content_tag("shop", one),), one.layers) for one in found]
    return seen(host, images=tuple(kept), **more)


def ready(ctx: RunContext, **facts: HostFacts) -> RunContext:
    ctx.facts = facts
    ctx.targets = ctx.deployment.targets(facts, ctx.nonce)
    return ctx


# images on the hosts, images whose checks are remembered -> images that are checked here
@pytest.mark.parametrize(
    ("a", "b", "known", "asked"),
    [
        ((), (), (), ["store", "web"]),
        (("web",), ("web",), (), ["store"]),
        (("web", "store"), (), (), ["web"]),
        (("web", "store"), ("web",), (), []),  # what is there has passed, or nobody knows
        (("web", "store"), ("web",), ("web",), ["web"]),
    ],
)
def test_images_that_some_host_lacks_are_checked_here(
    a: tuple[str, ...], b: tuple[str, ...], known: tuple[str, ...], asked: list[str], working: Any, checks: Checks
) -> None:
    ctx = working("a", "b")
    checks.known = set(known)
    ready(ctx, a=having(ctx, "a", *a), b=having(ctx, "b", *b))
    contracts.check_here(ctx, ctx.plan())
    assert sorted(checks.asked) == [(name, "here") for name in asked]
    assert [row["image"] for row in ctx.run.document["contracts"]] == [name for name, _ in checks.asked]


def test_images_of_hosts_that_were_not_observed_are_not_checked(working: Any, checks: Checks) -> None:
    ctx = working("a", "b")
    ready(ctx, b=having(ctx, "b"))
    contracts.check_here(ctx, ctx.plan())
    assert checks.asked == [("web", "here")]  # a alone has the store


@pytest.mark.parametrize(
    ("verdicts", "error", "names"),
    [
        ({}, None, []),
        ({"web": "failed"}, ContractError, ["shop-web:1"]),
        ({"web": "inconclusive"}, UnjudgedError, ["shop-web:1"]),
        ({"web": "inconclusive", "store": "failed"}, ContractError, ["shop-store:1"]),
        ({"web": "failed", "store": "failed"}, ContractError, ["shop-store:1", "shop-web:1"]),
        ({"web": "skipped"}, None, []),
    ],
)
def test_an_image_that_breaks_its_contract_stops_the_release(
    verdicts: dict[str, str], error: type[CanaryError] | None, names: list[str], working: Any, checks: Checks
) -> None:
    ctx = working("a")
    checks.verdicts = verdicts
    ready(ctx, a=having(ctx, "a"))
    if error:
        with pytest.raises(error) as stopped:
            contracts.check_here(ctx, ctx.plan())
        assert sorted(stopped.value.where.split(", ")) == names
    else:
        contracts.check_here(ctx, ctx.plan())
    assert len(ctx.state.contracts) == len(ctx.run.document["contracts"]) == 2  # recorded whatever came of it


def test_without_contracts_nothing_is_checked_and_that_is_said(working: Any, checks: Checks) -> None:
    ctx = ready(working("a", contracts=False), a=seen("a"))
    contracts.check_here(ctx, ctx.plan())
    contracts.check_on_hosts(ctx, CHANGED)
    assert not checks.jobs and len(notes(ctx)) == 1


def pulled(ctx: RunContext) -> RunContext:
    """The same with an image that this machine has not: hosts pull it."""
    images = {"web": image("web", WEB, local=False, source="r/web@sha256:1"), "store": image("store", STORE)}
    files = ctx.deployment.configuration.files.all
    ctx.deployment = ctx.deployment.with_release(make_release(ctx.deployment.stack, "only", images, files))
    return ctx


def test_an_image_that_hosts_pull_is_checked_on_the_first_that_has_it(working: Any, checks: Checks) -> None:
    ctx = pulled(working("a", "b"))
    ready(ctx, a=having(ctx, "a"), b=having(ctx, "b"))
    contracts.check_here(ctx, ctx.plan())
    assert checks.asked == [("store", "here")]
    contracts.check_on_hosts(ctx, CHANGED)
    assert checks.asked[1:] == [("web", "a")]
    assert checks.jobs[-1].subject.reference == content_tag("shop", ctx.deployment.release.images["web"])


def test_hosts_that_are_not_changed_are_not_asked(working: Any, checks: Checks) -> None:
    ctx = pulled(working("a"))
    contracts.check_on_hosts(ready(ctx, a=having(ctx, "a")), Plan())
    assert not checks.jobs


@pytest.mark.parametrize(
    ("with_gpu", "asked", "skipped"),
    [("ab", [("web", "a"), ("web", "b")], 0), ("b", [("web", "b")], 0), ("", [], 1)],
)
def test_what_needs_a_gpu_is_checked_on_every_host_that_has_one(
    with_gpu: str, asked: list[tuple[str, str]], skipped: int, working: Any, checks: Checks
) -> None:
    ctx = working("a", "b", stack=GPU_STACK)
    card = GpuFacts(index=0, uuid="GPU-1", name="H200", driver="570.1")
    known = {host: having(ctx, host, gpus=(card,) if host in with_gpu else ()) for host in ("a", "b")}
    contracts.check_on_hosts(ready(ctx, **known), CHANGED)
    assert checks.asked == asked and all(job.gpu for job in checks.jobs)
    rows = [(row.image, row.verdict, row.where) for row in ctx.state.contracts]
    assert rows.count(("web", "skipped", "nowhere")) == skipped


def test_what_images_are_made_of_is_read_once(working: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {}
    read: list[str] = []

    class Cache:
        def layers(self, identity: str, secrets: Any) -> Any:
            return kept.get(identity)

        def keep_layers(self, identity: str, secrets: Any, layers: Any) -> None:
            kept[identity] = layers

    def read_layers(place: Any, reference: str, secrets: Any) -> Any:
        read.append(reference)
        return [{"size": 1, "created_by": "RUN"}]

    monkeypatch.setattr(contracts, "Cache", Cache)
    monkeypatch.setattr(contracts, "read_layers", read_layers)
    ctx = working("a")
    ctx.run.set("release", ctx.deployment.release.as_dict())
    contracts.record_layers(ctx)
    contracts.record_layers(ctx)
    assert sorted(read) == ["shop-store:1", "shop-web:1"]
    assert ctx.run.document["release"]["images"]["web"]["layers"] == [{"size": 1, "created_by": "RUN"}]
