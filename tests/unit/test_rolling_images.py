"""Images that hosts lack on the way back: each host has its own release's, and one that cannot stops no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from canaryctl.errors import ApplyError, ConfigError, HostError, LockedError
from canaryctl.observe.facts import HostFacts, ImageFacts
from canaryctl.plan.back import Back, Step
from canaryctl.plan.release import Release, content_tag, recorded_image
from canaryctl.steps import rolling

A, B = "a" * 64, "b" * 64


def document(digit: str, name: str = "web") -> dict[str, Any]:
    image = {"id": f"sha256:{digit * 64}", "tag": "t"}
    image["tag"] = content_tag("shop", recorded_image(name, image))
    return {"id": digit * 64, "variant": "only", "services": {"web": name}, "images": {name: image}}


def back(**documents: dict[str, Any]) -> Back:
    steps = {
        host: Step(host, f"{found['id']}-00000000", "shop-prod", ("web",), images=found["images"], release=found)
        for host, found in documents.items()
    }
    return Back(list(documents.values())[-1], steps)


class Hosts:
    """What the steps share, of hosts without images; `here` is what this machine has, `breaks` where a push fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, here: str, breaks: str = "", fault: Any = None) -> None:
        self.facts = {host: HostFacts(host) for host in "xyz"}
        self.sent: dict[str, str] = {}
        self.targets: dict[str, Any] = {}
        self.failures: dict[str, HostError] = {}
        self.warnings: list[str] = []
        self.run = SimpleNamespace(warn=lambda what, where, hint: self.warnings.append(f"{where}: {what}"))
        policy = SimpleNamespace(delivery="auto", registries=())
        self.scene = SimpleNamespace(
            stack=SimpleNamespace(stack="shop", images={}),
            policy=policy,
            policies=dict.fromkeys("xyz", policy),
            registries=None,
        )

        def found(wanted: dict[str, tuple[str, Any]]) -> dict[str, Any]:
            known = {name: identity for name, (identity, _) in wanted.items() if identity[7] in here}
            return {name: recorded_image(name, {"id": identity, "tag": "t"}) for name, identity in known.items()}

        def push(work: Any, hosts: list[str], release: Release) -> None:
            for host in hosts:
                image = release.services["web"]
                if host not in breaks:
                    self.sent[host] = image.id
                    self.facts[host] = HostFacts(host, images=(ImageFacts(image.id, (content_tag("shop", image),)),))
            if set(breaks) & set(hosts):
                raise fault

        monkeypatch.setattr(rolling, "images_by_id", found)
        monkeypatch.setattr(rolling.push_steps, "push", push)

    def observe(self) -> None:
        pass


def test_each_host_gets_the_images_of_its_own_release(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: Any = Hosts(monkeypatch, here="ab")
    way = back(x=document("a"), y=document("b", "other"), z=document("a"))
    rolling.find_images(hosts, way)
    assert rolling.bring_images(hosts, way) == way
    assert hosts.sent == {"x": f"sha256:{A}", "y": f"sha256:{B}", "z": f"sha256:{A}"}


def test_a_host_that_cannot_come_back_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: Any = Hosts(monkeypatch, here="a")
    way = back(x=document("a"), y=document("b"))
    with pytest.raises(ApplyError, match="cannot come back"):
        rolling.find_images(hosts, way)
    with pytest.raises(ApplyError):
        rolling.bring_images(hosts, way)
    assert set(rolling.bring_images(hosts, way, leave=True).steps) == {"x"}
    assert "y: not rolled back" in hosts.warnings[0] and len(hosts.warnings) == 1
    with pytest.raises(ApplyError):
        rolling.bring_images(hosts, back(y=document("b")), leave=True)


def test_a_host_that_breaks_a_transfer_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: Any = Hosts(monkeypatch, here="a", breaks="y", fault=HostError("it broke", "y"))
    way = back(x=document("a"), y=document("a"), z=document("a"))
    assert set(rolling.bring_images(hosts, way, leave=True).steps) == {"x", "z"}
    lost: Any = Hosts(monkeypatch, here="a", breaks="y", fault=LockedError("another's", "y"))
    with pytest.raises(LockedError):
        rolling.bring_images(lost, way, leave=True)


def test_a_source_in_no_registry_of_the_stack_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: Any = Hosts(monkeypatch, here="a")
    evil = document("b")
    evil["images"]["web"]["source"] = f"evil.example/web@sha256:{B}"
    monkeypatch.setattr(rolling, "recorded_images", lambda stack, images, **_: _refuse() if images else {})
    assert set(rolling.bring_images(hosts, back(x=document("a"), y=evil), leave=True).steps) == {"x"}


def _refuse() -> dict[str, Any]:
    raise ConfigError("is no registry of this stack", "stack.yml", "look at that host")
