"""Drift by a host's own word, and all environments at a glance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from canaryctl.commands.status import overview_lines
from canaryctl.facts.host import ContainerFacts, HostFacts, ReleaseFacts, StateFacts
from canaryctl.plan.drift import drift
from canaryctl.plan.rendering import rendering_suffix

ID = "a" * 64
FILES = {"compose.yml": "1" * 64, "release.json": "2" * 64}
RELEASE = {
    "id": ID,
    "environment": "canary",
    "services": {"web": "site"},
    "images": {"site": {"id": "sha256:one", "tag": "canaryctl/shop/site:x"}},
}
CURRENT = f"{ID}-{rendering_suffix('canary', FILES)}"
WEB = ContainerFacts(
    service="web",
    project="shop-canary",
    image_id="sha256:one",
    state="running",
    health="healthy",
    config_files=f"/opt/canaryctl/shop/releases/{CURRENT}/compose.yml",
)


def host(files: dict[str, str] | None = None, *containers: ContainerFacts) -> HostFacts:
    state = StateFacts(current=CURRENT, releases={CURRENT: ReleaseFacts(RELEASE, files or FILES)})
    return HostFacts(host="one", state=state, containers=containers or (WEB,))


def test_a_host_as_it_was_left_has_not_drifted() -> None:
    assert drift(host(), "shop-canary") == []


def test_changed_added_and_removed_files_are_drift() -> None:
    for files in ({**FILES, "compose.yml": "3" * 64}, {**FILES, "new": "3" * 64}, {"release.json": "2" * 64}):
        assert drift(host(files), "shop-canary") == ["files of the release were changed"]


def test_another_image_is_drift() -> None:
    assert drift(host(None, replace(WEB, image_id="sha256:two")), "shop-canary") == ["web runs another image"]


def test_a_service_that_the_release_does_not_have_is_drift() -> None:
    assert drift(host(None, replace(WEB, service="odd")), "shop-canary") == ["odd is not of the release"]


def test_other_projects_and_sick_services_are_none() -> None:
    others = (replace(WEB, project="other", image_id="sha256:two"), replace(WEB, state="exited"))
    assert drift(host(None, *others), "shop-canary") == []
    assert drift(HostFacts(host="one"), "shop-canary") == []


def test_an_overview_of_faulty_environments_alone_names_their_faults() -> None:
    error = {"what": "not valid YAML", "where": "stack.yml:2", "hint": "fix it"}
    answer = {"environments": {"a": {"environment": "a", "error": error}, "long": {"environment": "b", "error": error}}}
    assert overview_lines(answer) == ["a  faulty: not valid YAML", "long  faulty: not valid YAML"]
    assert overview_lines({"environments": {}}) == ["there are no environments"]


def row(**more: Any) -> dict[str, Any]:
    known = {"release": {"id": ID}, "variant": "split", "replaced_by": [], "since": "2026-11-24T10:00:00Z"}
    known |= {"by": "ann@desk", "healthy": 2, "services": 3, "drift": False, "lock": None}
    return {**known, "hosts": {"one": {"reachable": True, "release": ID}}, **more}


def said(**environments: dict[str, Any]) -> str:
    return "\n".join(overview_lines({"environments": environments}))


def test_an_environment_is_a_line() -> None:
    (line,) = said(canary=row()).splitlines()
    for words in (
        "canary",
        f"{ID[:12]} (split)",
        "since 2026-11-24 10:00:00 by ann@desk",
        "2 of 3 healthy",
        "drift: no",
    ):
        assert words in line


def test_drift_locks_and_lost_hosts_are_said() -> None:
    lost = {"one": {"reachable": False}}
    line = said(canary=row(drift=True, lock={"holder": "bob@desk"}, hosts=lost))
    assert "drift: yes, locked by bob@desk, unreachable: one" in line
    assert "drift: unknown" in said(canary=row(drift=None))


def test_nothing_served_faulty_files_and_other_environments_have_words() -> None:
    nothing = row(release={"id": None}, since=None, hosts={"one": {"reachable": True, "release": None}})
    assert "no release" in said(a=nothing)
    two = {"one": {"reachable": True, "release": ID}, "two": {"reachable": True, "release": "b" * 64}}
    assert "different releases" in said(a=row(release={"id": None}, hosts=two))
    assert "faulty: no hosts" in said(a={"environment": "a", "error": {"what": "no hosts"}}, b=row())
    assert "its hosts serve fleet" in said(a=row(replaced_by=["fleet"]))
    assert said() == "there are no environments"
