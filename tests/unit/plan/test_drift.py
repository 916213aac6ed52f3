"""Drift by a host's own word."""

from __future__ import annotations

from dataclasses import replace

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
