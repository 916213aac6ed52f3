"""The release that a deployment's images make, and when it is made anew for another platform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contexts import OTHER, STORE, WEB, image, make_deployment, make_known

from canaryctl.deploy import release
from canaryctl.deploy.release import known_names, registries_of, settle_platform, with_own_release
from canaryctl.evidence.document import new_document
from canaryctl.images.registry import Registries
from canaryctl.plan.deployment import Deployment
from canaryctl.plan.release import ImageFact

AMD, ARM = "linux/amd64", "linux/arm64"
BOTH = (AMD, ARM)


class Found:
    """What this machine and the registries have, by platform; and what was asked for."""

    def __init__(self, platforms: tuple[str, ...] = ()) -> None:
        self.asked: list[str] = []
        self.platforms = platforms

    def __call__(self, stack: Any, names: list[str], overrides: Any, **how: Any) -> dict[str, ImageFact]:
        self.asked.append(how["platform"])
        identities = {"store": STORE, "web": OTHER if how["platform"] == ARM else WEB}
        chosen = {name: image(name, identities[name]) for name in names}
        chosen["web"] = image("web", identities["web"], platform=how["platform"], platforms=self.platforms)
        return chosen


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    answers = Found(BOTH)
    monkeypatch.setattr(release, "release_images", answers)
    return answers


def made(tmp_path: Path, **known: Any) -> Deployment:
    return make_deployment(tmp_path, released=False, **known)


def test_the_images_of_this_machine_make_the_release(tmp_path: Path, found: Found) -> None:
    deployment = with_own_release(made(tmp_path), Registries())
    assert {name: one.id for name, one in deployment.release.images.items()} == {"web": WEB, "store": STORE}
    assert found.asked == [AMD] and not deployment.given and deployment.platform == ""


def test_a_release_that_was_given_is_not_made(tmp_path: Path, found: Found) -> None:
    plain = made(tmp_path)
    given = plain.with_release(make_known(plain), given=True)
    assert with_own_release(given, Registries()) is given
    assert settle_platform(given, {"arm64"}, Registries()) is given and not found.asked


@pytest.mark.parametrize(
    ("architectures", "platforms", "anew"),
    [
        ({"amd64"}, BOTH, False),
        ({"arm64"}, BOTH, True),
        ({"arm64"}, (AMD,), False),  # its reference has no other: the plan refuses the host
        ({"arm64"}, (), False),
        ({"amd64", "arm64"}, BOTH, False),
        (set(), BOTH, False),
    ],
)
def test_the_release_is_made_anew_where_all_hosts_are_of_another_platform(
    architectures: set[str], platforms: tuple[str, ...], anew: bool, tmp_path: Path, found: Found
) -> None:
    found.platforms = platforms
    before = with_own_release(made(tmp_path), Registries())
    after = settle_platform(before, architectures, Registries())
    assert (after is not before) is anew
    assert after.release.images["web"].id == (OTHER if anew else WEB)
    assert after.platform == (ARM if anew else "") and found.asked == ([AMD, ARM] if anew else [AMD])


def test_a_platform_is_settled_once(tmp_path: Path, found: Found) -> None:
    settled = settle_platform(with_own_release(made(tmp_path), Registries()), {"arm64"}, Registries())
    assert settle_platform(settled, {"arm64"}, Registries()) is settled
    assert with_own_release(settled, Registries()).release.id == settled.release.id  # asked for the same platform


def test_a_command_without_a_release_has_none_to_settle(tmp_path: Path, found: Found) -> None:
    plain = made(tmp_path)
    assert settle_platform(plain, {"arm64"}, Registries()) is plain and not found.asked


def test_data_may_go_by_the_names_of_environments_and_what_the_stack_was_called(tmp_path: Path) -> None:
    deployment = make_deployment(tmp_path)
    (deployment.project.inventories / "staging").mkdir()
    for number, stack in enumerate(("shop", "store", "")):
        folder = deployment.project.runs / "prod" / f"20261130T08{number:02}00Z-deploy-0000"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(new_document(id=folder.name, stack=stack)))
    known = known_names(deployment)
    assert known.environments == ("prod", "staging") and known.former_stacks() == {"store"}


def test_an_environments_own_authority_is_beside_its_inventory(tmp_path: Path) -> None:
    deployment = make_deployment(tmp_path, variables={"canary_registry_ca": "ca.pem"})
    assert isinstance(registries_of(deployment.environment), Registries)
