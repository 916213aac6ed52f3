"""Which release hosts go back to, and what that takes."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.errors import ConfigError
from canaryctl.observe.facts import ContainerFacts, HostFacts, ImageFacts, ReleaseFacts, StateFacts, VolumeFacts
from canaryctl.plan.back import Created, back_from, back_to, choose_release

A, B, C = "a" * 64, "b" * 64, "c" * 64


def release(identity: str, environment: str = "prod") -> dict[str, Any]:
    return {
        "id": identity,
        "environment": environment,
        "variant": "only",
        "placed": ["web"],
        "services": {"web": "web", "elsewhere": "other"},
        "images": {"web": {"id": f"sha256:{identity}", "tag": f"t:{identity[:3]}"}, "other": {"id": "x", "tag": "y"}},
    }


def line(to: str, verdict: str | None, time: int, **more: Any) -> dict[str, Any]:
    return {"time": f"2026-11-24T10:00:{time:02}Z", "environment": "prod", "to": to, "verdict": verdict, **more}


def host(
    name: str, current: str | None, history: tuple[dict[str, Any], ...] = (), known: str = "abc", **more: Any
) -> HostFacts:
    releases = {f"{x * 64}-00000000": ReleaseFacts(release(x * 64)) for x in known}
    state = StateFacts(current=f"{current}-00000000" if current else None, releases=releases, history=history)
    return HostFacts(name, state=state, **more)


def test_the_newest_other_release_that_passed_is_chosen() -> None:
    lines = (line(A, "passed", 1), line(B, "passed", 2), line(C, "passed", 3))
    assert choose_release({"h": host("h", C, lines)}, "prod", None) == B


@pytest.mark.parametrize(
    "newer",
    [
        line(B, "failed", 2),
        line(B, "partial", 2),
        line(B, None, 2),
        line(B, "passed", 2, role="baseline"),
        line(B, "passed", 2, environment="staging"),
    ],
)
def test_what_has_proven_nothing_here_is_not_chosen(newer: dict[str, Any]) -> None:
    lines = (line(A, "passed", 1), newer, line(C, "passed", 3))
    assert choose_release({"h": host("h", C, lines)}, "prod", None) == A


def test_hosts_histories_count_together() -> None:
    facts = {"x": host("x", C, (line(A, "passed", 1),)), "y": host("y", C, (line(B, "passed", 2),))}
    assert choose_release(facts, "prod", None) == B


def test_where_nothing_else_passed_the_known_ones_are_listed() -> None:
    with pytest.raises(ConfigError, match="no other release that passed") as raised:
        choose_release({"h": host("h", C, (line(C, "passed", 3),))}, "prod", None)
    assert A[:12] in raised.value.hint and C[:12] not in raised.value.hint


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("dddd", "no release here begins"), ("aaa", "no release here begins"), (C[:10], "is served already")],
)
def test_a_release_is_named_by_enough_of_its_id(wanted: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        choose_release({"h": host("h", C)}, "prod", wanted)
    assert choose_release({"h": host("h", C)}, "prod", "aaaa") == A


def test_only_the_images_of_services_placed_there_are_needed() -> None:
    seen = host("h", C, images=(ImageFacts(id=f"sha256:{A}", tags=("t:aaa",)),))
    step = back_to(A, {"h": seen}, "prod", "shop").steps["h"]
    assert step.directory == f"{A}-00000000" and step.project == "shop-prod" and list(step.images) == ["web"]
    assert step.missing(seen) == []
    assert step.missing(host("h", C)) == ["web"]


def test_a_host_that_lost_the_release_is_named() -> None:
    with pytest.raises(ConfigError, match="is not on y any more"):
        back_to(A, {"x": host("x", C), "y": host("y", C, known="c")}, "prod", "shop")


def test_a_host_without_the_stack_is_left_alone() -> None:
    assert list(back_to(A, {"x": host("x", C), "y": host("y", None, known="")}, "prod", "shop").steps) == ["x"]


def test_what_a_first_deploy_made_goes_and_nothing_else() -> None:
    def container(identity: str, project: str) -> ContainerFacts:
        return ContainerFacts(id=identity, project=project)

    before = host(
        "h",
        None,
        known="a",
        containers=(container("1", "shop-prod"),),
        volumes=(VolumeFacts("kept", None, "shop-prod"),),
    )
    now = host(
        "h",
        B,
        known="ab",
        containers=(container("1", "shop-prod"), container("2", "shop-prod"), container("3", "shop-other")),
        volumes=(VolumeFacts("kept", None, "shop-prod"), VolumeFacts("new", None, "shop-prod")),
    )
    back = back_from({"h": before}, {"h": now}, ["h"], "prod", "shop")
    assert back.id is None
    assert back.steps["h"].created == Created(("2",), ("new",), ("current", f"releases/{B}-00000000"))


def test_a_host_whose_release_cannot_be_read_is_left_alone() -> None:
    before = host("h", A, known="")
    now = host("h", B, known="b", containers=(ContainerFacts(id="2", project="shop-prod"),))
    assert back_from({"h": before}, {"h": now}, ["h"], "prod", "shop").steps == {}


def test_another_environment_s_release_comes_back_in_its_own_project() -> None:
    before = HostFacts(
        "h",
        state=StateFacts(
            current=f"{A}-1",
            releases={f"{A}-1": ReleaseFacts(release(A, "fleet"))},
            history=(line(A, "passed", 1, environment="fleet"),),
        ),
    )
    ours = ContainerFacts(project="shop-prod", config_files="/opt/canaryctl/shop/releases/x/compose.yml")
    back = back_from({"h": before}, {"h": host("h", B, containers=(ours,))}, ["h"], "prod", "shop")
    assert back.steps["h"].project == "shop-fleet" and back.steps["h"].replaces == ("shop-prod",)


# where an automatic rollback goes: what the host served (current), its history, the release that failed, and where to
WAYS_BACK: dict[str, tuple[str | None, tuple[dict[str, Any], ...], str, str | None]] = {
    "what served and had passed": (B, (line(A, "passed", 1), line(B, "passed", 2)), C, B),
    "what served and passed once, whatever came after": (B, (line(B, "passed", 1), line(A, "passed", 2)), C, B),
    "not the release that fails": (C, (line(A, "passed", 1), line(C, None, 2)), C, A),
    "not the release that fails, though it passed before": (C, (line(A, "passed", 1), line(C, "passed", 2)), C, A),
    "not what an interrupted run left": (B, (line(A, "passed", 1), line(B, "interrupted", 2)), C, A),
    "not what a killed run left, which wrote nothing": (B, (line(A, "passed", 1),), C, A),
    "not what failed and was kept": (B, (line(A, "passed", 1), line(B, "failed", 2)), C, A),
    "an interruption unproves nothing": (B, (line(B, "passed", 1), line(B, "interrupted", 2)), C, B),
    "what served and was judged in part": (B, (line(A, "passed", 1), line(B, "partial", 2)), C, B),
    "nowhere where only what fails passed": (C, (line(C, "passed", 1),), C, None),
    "nowhere where nothing passed": (B, (line(B, "interrupted", 1),), C, None),
    "nowhere after a baseline alone": (B, (line(A, "passed", 1, role="baseline"),), C, None),
    "nowhere for another environment's pass": (B, (line(A, "passed", 1, environment="staging"),), C, None),
}


@pytest.mark.parametrize("case", WAYS_BACK)
def test_an_automatic_rollback_goes_to_what_passed_there(case: str) -> None:
    served, history, failed, to = WAYS_BACK[case]
    before = {"h": host("h", served, history)}
    back = back_from(before, {"h": host("h", failed, history)}, ["h"], "prod", "shop", failed)
    assert back.id == to
    assert back.left == (() if to else ("h",))
    assert [step.directory for step in back.steps.values()] == ([f"{to}-00000000"] if to else [])


def test_a_release_whose_files_are_gone_is_not_gone_back_to() -> None:
    history = (line(A, "passed", 1), line(B, "passed", 2))
    back = back_from({"h": host("h", C, history)}, {"h": host("h", C, history, known="ac")}, ["h"], "prod", "shop", C)
    assert back.id == A


def test_hosts_that_an_interruption_left_apart_come_back_together() -> None:
    passed = (line(A, "passed", 1), line(B, "passed", 2))
    before = {"x": host("x", B, passed), "y": host("y", C, (*passed, line(C, "interrupted", 3)))}
    back = back_from(before, before, ["x", "y"], "prod", "shop", C)
    assert {name: step.directory for name, step in back.steps.items()} == dict.fromkeys("xy", f"{B}-00000000")
    other = {**before, "y": host("y", C, (line(A, "passed", 1),))}
    back = back_from({**other, "x": host("x", C, passed)}, other, ["x", "y"], "prod", "shop", C)
    assert {step.directory for step in back.steps.values()} == {f"{A}-00000000"}, "the newest that passed on both"


def test_another_environments_release_serves_again_where_it_passed() -> None:
    staging = release(B, "staging")
    history = (line(B, "passed", 1, environment="staging"),)
    state = StateFacts(current="old", releases={"old": ReleaseFacts(staging)}, history=history)
    back = back_from({"h": HostFacts("h", state=state)}, {"h": host("h", C)}, ["h"], "prod", "shop", C)
    assert back.steps["h"].directory == "old" and back.steps["h"].project == "shop-staging"
