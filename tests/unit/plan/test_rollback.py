"""Which release hosts go back to, and what that takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from canaryctl.errors import ConfigError, HostError
from canaryctl.facts.change import ChangeFacts
from canaryctl.facts.host import ContainerFacts, HostFacts, ImageFacts, ReleaseFacts, StateFacts, VolumeFacts
from canaryctl.plan.operations.rollback import Created
from canaryctl.plan.rollback import back_from, back_to, choose_release
from canaryctl.plan.verdicts import Signed, Trust, Verdict

NOW = datetime(2026, 11, 25, tzinfo=UTC).timestamp()
A, B, C = "a" * 64, "b" * 64, "c" * 64


def release(identity: str, environment: str = "prod") -> dict[str, Any]:
    return {
        "id": identity,
        "environment": environment,
        "variant": "only",
        "placed": ["web"],
        "files": {},
        "services": {"web": "web", "elsewhere": "other"},
        "images": {
            "web": {"id": f"sha256:{identity}", "tag": f"t:{identity[:3]}"},
            "other": {"id": f"sha256:{B}", "tag": "y"},
        },
    }


def line(to: str, verdict: str | None, time: int, **more: Any) -> dict[str, Any]:
    who = {"who": "ann@desk", "what": "verdict", "run": f"run-{time}"}
    return {"time": f"2026-11-24T10:00:{time:02}Z", "environment": "prod", "to": to, "verdict": verdict, **who, **more}


def chosen(facts: dict[str, HostFacts], wanted: str | None = None) -> str:
    return choose_release(facts, "prod", wanted, Trust(NOW)).release


def host(
    name: str, current: str | None, history: tuple[dict[str, Any], ...] = (), known: str = "abc", **more: Any
) -> HostFacts:
    releases = {f"{x * 64}-00000000": ReleaseFacts(release(x * 64)) for x in known}
    state = StateFacts(current=f"{current}-00000000" if current else None, releases=releases, history=history)
    return HostFacts(name, state=state, **more)


def test_the_newest_other_release_that_passed_is_chosen() -> None:
    lines = (line(A, "passed", 1), line(B, "passed", 2), line(C, "passed", 3))
    assert chosen({"h": host("h", C, lines)}, None) == B


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
    assert chosen({"h": host("h", C, lines)}, None) == A


def test_unsigned_every_host_must_say_the_same() -> None:
    both, one = line(A, "passed", 1), line(B, "passed", 2)
    facts = {"x": host("x", C, (both,)), "y": host("y", C, (both, one))}
    found = choose_release(facts, "prod", None, Trust(NOW))
    assert (
        found.release == A and "y: the line of run run-2" in found.doubts[0] and "x has no such line" in found.doubts[0]
    )


def test_a_host_that_keeps_no_release_has_no_say() -> None:
    assert chosen({"x": host("x", C, (line(A, "passed", 1),)), "y": host("y", None, known="")}) == A


@pytest.mark.parametrize("verdict", ["failed", "inconclusive"])
def test_a_release_whose_newest_verdict_is_bad_is_passed_over(verdict: str) -> None:
    lines = (line(A, "passed", 1), line(B, "passed", 2), line(B, verdict, 3, what="deploy"))
    found = choose_release({"h": host("h", C, lines)}, "prod", None, Trust(NOW))
    assert found.release == A and f"its newest verdict is {verdict}" in found.doubts[0]


def test_with_signers_one_host_cannot_rule_out_a_release_unsigned() -> None:
    def proves(to: str, verdict: str, time: int, **more: Any) -> dict[str, Any]:
        images = {"web": f"sha256:{to}", "other": f"sha256:{B}"}
        return line(to, verdict, time, images=images, variant="only", signature="good", **more)

    def check(verdict: Verdict) -> Signed | str:
        return Signed("ann", "SHA256:x") if verdict.line["signature"] == "good" else "altered"

    trust, passed = Trust(NOW, check=check), (proves(A, "passed", 1), proves(B, "passed", 2))
    for against in ({"signature": None}, {"signature": "bad"}):
        lines = (*passed, proves(B, "failed", 3) | against)
        assert choose_release({"h": host("h", C, lines), "i": host("i", C, passed)}, "prod", None, trust).release == B
    lines = (*passed, proves(B, "failed", 3))
    assert choose_release({"h": host("h", C, lines), "i": host("i", C, passed)}, "prod", None, trust).release == A
    unsigned = {"h": host("h", C, (line(A, "passed", 1),))}
    with pytest.raises(ConfigError, match="it is not signed"):
        choose_release(unsigned, "prod", None, trust)


def test_a_host_with_another_release_json_is_named() -> None:
    facts = {name: host(name, C) for name in "xyz"}
    other = release(A) | {"images": {"web": {"id": f"sha256:{B}", "tag": "t"}, "other": {"id": "x", "tag": "y"}}}
    facts["z"].state.releases[f"{A}-00000000"] = ReleaseFacts(other)
    with pytest.raises(HostError, match="not the same on all hosts") as raised:
        back_to(A, facts, "prod", "shop")
    assert raised.value.where == "z"
    with pytest.raises(HostError) as raised:
        back_to(A, {name: facts[name] for name in "xz"}, "prod", "shop")
    assert raised.value.where == "x, z", "of two nobody knows which"


def test_where_nothing_else_passed_the_known_ones_are_listed() -> None:
    with pytest.raises(ConfigError, match="no other release that passed") as raised:
        chosen({"h": host("h", C, (line(C, "passed", 3),))}, None)
    assert A[:12] in raised.value.hint and C[:12] not in raised.value.hint


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("dddd", "no release here begins"), ("aaa", "no release here begins"), (C[:10], "is served already")],
)
def test_a_release_is_named_by_enough_of_its_id(wanted: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        chosen({"h": host("h", C)}, wanted)
    assert chosen({"h": host("h", C)}, "aaaa") == A


@pytest.mark.parametrize("phase", ["begun", "started", "confirmed"])
def test_a_release_that_hosts_give_up_unless_it_is_confirmed_is_not_served_yet(phase: str) -> None:
    """Found by `sshd-refusing:rollback`: the same rollback again was refused, and then the host went back."""
    seen = host("h", C)
    tried = replace(seen, state=replace(seen.state, change=ChangeFacts(phase=phase, confirm=30.0)))
    if phase == "confirmed":
        with pytest.raises(ConfigError, match="is served already"):
            chosen({"h": tried}, C[:10])
    else:
        assert chosen({"h": tried}, C[:10]) == C


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
    back = back_from({"h": before}, {"h": now}, ["h"], "prod", "shop", Trust(NOW))
    assert back.id is None
    assert back.steps["h"].created == Created(("2",), ("new",), ("current", f"releases/{B}-00000000"))


def test_a_host_whose_release_cannot_be_read_is_left_alone() -> None:
    before = host("h", A, known="")
    now = host("h", B, known="b", containers=(ContainerFacts(id="2", project="shop-prod"),))
    assert back_from({"h": before}, {"h": now}, ["h"], "prod", "shop", Trust(NOW)).steps == {}


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
    back = back_from({"h": before}, {"h": host("h", B, containers=(ours,))}, ["h"], "prod", "shop", Trust(NOW))
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
    back = back_from(before, {"h": host("h", failed, history)}, ["h"], "prod", "shop", Trust(NOW), failed)
    assert back.id == to
    assert back.left == (() if to else ("h",))
    assert [step.directory for step in back.steps.values()] == ([f"{to}-00000000"] if to else [])


def test_a_release_whose_files_are_gone_is_not_gone_back_to() -> None:
    history = (line(A, "passed", 1), line(B, "passed", 2))
    back = back_from(
        {"h": host("h", C, history)}, {"h": host("h", C, history, known="ac")}, ["h"], "prod", "shop", Trust(NOW), C
    )
    assert back.id == A


def test_hosts_that_an_interruption_left_apart_come_back_together() -> None:
    passed = (line(A, "passed", 1), line(B, "passed", 2))
    before = {"x": host("x", B, passed), "y": host("y", C, (*passed, line(C, "interrupted", 3)))}
    back = back_from(before, before, ["x", "y"], "prod", "shop", Trust(NOW), C)
    assert {name: step.directory for name, step in back.steps.items()} == dict.fromkeys("xy", f"{B}-00000000")
    other = {**before, "y": host("y", C, (line(A, "passed", 1),))}
    back = back_from({**other, "x": host("x", C, passed)}, other, ["x", "y"], "prod", "shop", Trust(NOW), C)
    assert {step.directory for step in back.steps.values()} == {f"{A}-00000000"}, "the newest that passed on both"


def test_one_host_does_not_say_what_the_others_go_back_to() -> None:
    passed = (line(A, "passed", 1), line(B, "passed", 2))
    facts = {"x": host("x", A, passed), "y": host("y", A, passed), "z": host("z", B, passed)}
    for order in ("xyz", "zyx", "yzx"):
        back = back_from({h: facts[h] for h in order}, facts, list(order), "prod", "shop", Trust(NOW), C)
        assert back.id == A and back.steps["z"].directory == f"{B}-00000000"
    facts["z"] = host("z", A, passed)
    facts["z"].state.releases[f"{A}-00000000"] = ReleaseFacts(release(A) | {"images": {"web": {"id": B, "tag": "t"}}})
    assert back_from(facts, facts, ["z", "y", "x"], "prod", "shop", Trust(NOW), C).release == release(A)


def test_another_environments_release_serves_again_where_it_passed() -> None:
    staging = release(B, "staging")
    history = (line(B, "passed", 1, environment="staging"),)
    state = StateFacts(current="old", releases={"old": ReleaseFacts(staging)}, history=history)
    back = back_from({"h": HostFacts("h", state=state)}, {"h": host("h", C)}, ["h"], "prod", "shop", Trust(NOW), C)
    assert back.steps["h"].directory == "old" and back.steps["h"].project == "shop-staging"
