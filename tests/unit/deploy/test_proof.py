"""What a line of the hosts' history says that a verdict stands on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contexts import STORE, WEB, make_deployment, release_document, seen

from canaryctl.contract.results import Row
from canaryctl.deploy.context import RunContext, served_of
from canaryctl.deploy.proof import own_probes, parts_left_out, placed_images, proof
from canaryctl.deploy.state import Forced, Served


@pytest.fixture
def judged(working: Any) -> RunContext:
    """A run on two hosts whose release is the deployment's."""
    ctx: RunContext = working("a", "b")
    document = release_document(ctx.deployment, "a")
    ctx.facts = {host: seen(host, document) for host in ("a", "b")}
    ctx.state.release = served_of(document, document["id"])
    ctx.state.contracts = [Row("web", "user", "passed"), Row("web", "gpu", "skipped"), Row("store", "user", "passed")]
    return ctx


def test_a_verdict_says_what_it_stands_on(judged: RunContext) -> None:
    assert proof(judged, "verdict") == {
        "variant": "only",
        "simulated": False,
        "contracts": {"passed": 2, "skipped": 1},
        "images": {"web": WEB, "store": STORE},
        "placed": ["store", "web"],
        "probes_file": True,
    }


def test_only_images_of_hosts_that_took_part_are_placed(judged: RunContext) -> None:
    del judged.facts["a"]  # which has the store
    judged.state.simulated = True
    found = proof(judged, "rollback")
    assert found["placed"] == ["web"] and found["images"].keys() == {"web", "store"} and found["simulated"]


@pytest.mark.parametrize("what", ["deploy", "down", "push", "start"])
def test_what_is_no_verdict_proves_nothing(what: str, judged: RunContext) -> None:
    assert proof(judged, what) == {}


@pytest.mark.parametrize(
    "release",
    [Served(), Served(None, "only"), Served("e" * 64, "no variant any more"), Served("e" * 64, None)],
    ids=["none", "different ones", "another variant", "no variant"],
)
def test_what_cannot_be_promoted_proves_nothing(release: Served, judged: RunContext) -> None:
    judged.state.release = release
    assert proof(judged, "verdict") == {}


@pytest.mark.parametrize(
    ("forced", "said"),
    [
        (None, {}),
        (Forced("a party"), {"reason": "a party"}),
        (Forced("a party", ("too old",)), {"reason": "a party", "forced": True}),
    ],
)
@pytest.mark.parametrize("what", ["deploy", "verdict"])
def test_every_line_says_why_it_was_forced(
    what: str, forced: Forced | None, said: dict[str, Any], judged: RunContext
) -> None:
    judged.state.forced = forced
    found = proof(judged, what)
    assert {key: found[key] for key in ("reason", "forced") if key in found} == said


@pytest.mark.parametrize(
    ("asked", "limited", "parts"),
    [
        ({}, False, []),
        ({"only": ("Health",)}, False, ["--only"]),
        ({"skip": ("Health",)}, False, ["--skip"]),
        ({"contracts": False}, False, ["--no-contract"]),
        ({}, True, ["--limit leaves hosts out"]),
        ({"skip": ("Health",), "contracts": False}, True, ["--limit leaves hosts out", "--skip", "--no-contract"]),
    ],
)
def test_options_that_leave_something_out_are_named(
    asked: dict[str, Any], limited: bool, parts: list[str], tmp_path: Path
) -> None:
    deployment = make_deployment(tmp_path, **asked)
    deployment = replace(deployment, hosts=deployment.hosts[:1]) if limited else deployment
    assert parts_left_out(deployment) == parts


@pytest.mark.parametrize(("given", "own"), [(None, True), ("probes.yml", True), ("others.yml", False)])
def test_other_probes_than_the_stacks_prove_no_release(given: str | None, own: bool, tmp_path: Path) -> None:
    deployment = make_deployment(tmp_path)
    project = replace(deployment.project, probes=tmp_path / "." / given if given else None)
    deployment = replace(deployment, configuration=replace(deployment.configuration, project=project))
    assert own_probes(deployment) is own and bool(parts_left_out(deployment)) is not own


def test_a_variants_images_on_all_hosts_or_some(tmp_path: Path) -> None:
    deployment = make_deployment(tmp_path, ("a", "b"))
    assert placed_images(deployment, "only") == {"web", "store"}
    assert placed_images(deployment, "only", ["b"]) == {"web"} and placed_images(deployment, "only", []) == set()
