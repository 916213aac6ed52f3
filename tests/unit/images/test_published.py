"""Which images a release is made of, and how they are to reach hosts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import ValidationError

from canaryctl.config.policy import Policy
from canaryctl.config.reference import Reference
from canaryctl.config.stack import Stack
from canaryctl.errors import ConfigError
from canaryctl.images.distribution import UnreachableError
from canaryctl.images.registry import Published, Registries
from canaryctl.images.resolve import recorded_images, release_images
from canaryctl.plan.operations.push import is_pulled
from canaryctl.plan.release import ImageFact, source_allowed

PINNED = f"registry.test/web@sha256:{'d' * 64}"


class Answers(Registries):
    """Registries that answer from memory."""

    def __init__(self, unreachable: bool = False) -> None:
        super().__init__()
        self.unreachable = unreachable
        self.asked: list[tuple[str, str]] = []

    def resolve(
        self, wanted: Iterable[tuple[Reference, str]]
    ) -> dict[tuple[Reference, str], Published | UnreachableError]:
        answer: dict[tuple[Reference, str], Published | UnreachableError] = {}
        for reference, platform in wanted:
            self.asked.append((str(reference), platform))
            found = Published(PINNED, "sha256:c", ("sha256:l",), (10, 20), platform, ("linux/amd64", "linux/arm64"))
            answer[reference, platform] = UnreachableError("gone", "registry.test") if self.unreachable else found
        return answer


def stack(**web: Any) -> Stack:
    return Stack.model_validate(
        {
            "stack": "shop",
            "images": {"web": {"ref": "registry.test/web:1", **web}, "db": {"tag": "db:1"}},
            "variants": {"only": {"web": "web", "db": "db"}},
            "placement": {"all": ["web", "db"]},
            "compose": "compose.yml.j2",
        }
    )


def test_a_published_image_is_what_the_registry_says() -> None:
    registries = Answers()
    (image,) = release_images(stack(), ["web"], {}, deliveries=["auto"], registries=registries).values()
    assert (image.id, image.source, image.size, image.local) == ("sha256:c", PINNED, 30, False)
    assert sum(image.layer_sizes) > image.size, "room is reckoned unpacked"
    assert registries.asked == [("registry.test/web:1", "linux/amd64")]


@pytest.mark.parametrize(
    ("contract", "hosts", "asked"),
    [({}, "linux/arm64", "linux/arm64"), ({"platform": "linux/s390x"}, "linux/arm64", "linux/s390x")],
)
def test_the_contract_chooses_the_platform_and_else_the_hosts(contract: Any, hosts: str, asked: str) -> None:
    registries = Answers()
    release_images(stack(contract=contract), ["web"], {}, deliveries=[], registries=registries, platform=hosts)
    assert registries.asked == [("registry.test/web:1", asked)]


def test_a_registry_that_is_gone_stops_everything_where_hosts_pull() -> None:
    with pytest.raises(UnreachableError):
        release_images(stack(), ["web"], {}, deliveries=["pull"], registries=Answers(unreachable=True))


def test_pull_alone_refuses_what_is_only_here() -> None:
    with pytest.raises(ConfigError, match="no registry has db") as raised:
        release_images(stack(), ["web", "db"], {}, deliveries=["pull"], registries=Answers())
    assert "canary_delivery: auto" in raised.value.hint


@pytest.mark.parametrize(
    ("source", "delivery", "pulled"),
    [
        (PINNED, "auto", True),
        (PINNED, "pull", True),
        (PINNED, "push", False),
        ("", "auto", False),
        ("", "push", False),
    ],
)
def test_who_gets_an_image_from_where(source: str, delivery: str, pulled: bool) -> None:
    image = ImageFact("web", "sha256:c", "x", 1, (), "linux/amd64", source=source)
    assert is_pulled(image, Policy(delivery=delivery)) is pulled


def test_a_faulty_reference_is_found_where_it_is_written() -> None:
    with pytest.raises(ValidationError, match="no image reference"):
        stack(ref="https://registry.test/web:1")


ID = f"sha256:{'e' * 64}"


@pytest.mark.parametrize(
    ("source", "registries", "allowed"),
    [
        (PINNED, (), True),
        (PINNED.replace("registry.test", "ghcr.io"), (), False),
        (PINNED.replace("/web@", "/web2@"), (), False),
        (PINNED.replace("/web@", "/web/more@"), (), False),
        (PINNED.replace("registry.test", "registry.test:443"), (), False),
        ("registry.test/web:1", (), False),  # what a tag stands for may change
        ("web@sha256:" + "d" * 64, (), False),
        ("registry.test/web@sha256:d", (), False),
        (f"{PINNED}\n", (), False),
        ("", (), False),
        (PINNED.replace("/web@", "/old/web@"), ("registry.test/old",), True),
        (PINNED.replace("/web@", "/older/web@"), ("registry.test/old",), False),
        (PINNED.replace("registry.test", "ghcr.io"), ("ghcr.io",), True),
        (PINNED.replace("registry.test", "ghcr.io.evil.test"), ("ghcr.io",), False),
    ],
)
def test_earlier_images_come_from_the_stacks_registries_alone(
    source: str, registries: tuple[str, ...], allowed: bool
) -> None:
    assert source_allowed(stack(), source, registries) is allowed


def recorded(source: str, registries: Answers, identity: str = "sha256:c", delivery: str = "auto") -> dict[str, Any]:
    images = {"web": {"id": identity, "source": source}, "db": {"id": ID}}
    return recorded_images(stack(), images, allowed=(), deliveries=[delivery], registries=registries)


def test_what_a_host_recorded_is_looked_up_by_this_machine() -> None:
    registries = Answers()
    found = recorded(PINNED, registries)
    assert set(found) == {"web"} and found["web"].layers == ("sha256:l",) and found["web"].source == PINNED
    assert registries.asked == [(PINNED, "linux/amd64")]
    assert recorded(PINNED, Answers(), delivery="push") == {}


@pytest.mark.parametrize("delivery", ["auto", "push"])
def test_a_registry_that_only_a_host_names_gets_no_question_and_no_credential(delivery: str) -> None:
    registries = Answers()
    with pytest.raises(ConfigError, match="is no registry of this stack") as raised:
        recorded(f"evil.test/web@sha256:{'d' * 64}", registries, delivery=delivery)
    assert "evil.test" in raised.value.what and "canary_registries" in raised.value.hint
    assert registries.asked == [] and registries.credentials == {}


def test_an_image_that_is_not_what_was_recorded_does_not_come_back() -> None:
    with pytest.raises(ConfigError, match="is not what is recorded"):
        recorded(PINNED, Answers(), identity=ID)
