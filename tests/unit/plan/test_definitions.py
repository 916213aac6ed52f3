"""What runs against what compose last brought up, to the end: restarted, remade and hand-made containers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from canaryctl.facts.host import ContainerFacts, HostFacts, StateFacts
from canaryctl.facts.started import MountedFacts, StartedFacts, parse_mounted, parse_started
from canaryctl.plan.definitions import mounts_of_healed, other_definitions

NEW, OLD = f"{'2' * 64}-bbbbbbbb", f"{'1' * 64}-aaaaaaaa"
DATA = MountedFacts("volume", "shop-box_data", "/data")
ASSET = MountedFacts("bind", f"/opt/canaryctl/shop/releases/{NEW}/assets/conf", "/conf", rw=False)
NOTE: dict[str, Any] = {
    "release": NEW,
    "project": "shop-box",
    "containers": {
        "c2": {
            "service": "web",
            "hash": "h2",
            "mounts": [{"type": "volume", "source": "shop-box_data", "destination": "/data", "rw": True}],
        }
    },
}


def files_of(release: str) -> str:
    return f"/opt/canaryctl/shop/releases/{release}/compose.yml"


WEB = ContainerFacts(
    id="c2", project="shop-box", service="web", config_files=files_of(NEW), config_hash="h2", mounts=(DATA,)
)


def found(container: ContainerFacts, note: Any = NOTE) -> str:
    facts = HostFacts("one", containers=(container,), state=StateFacts(current=NEW, started=parse_started(note)))
    return other_definitions(facts, "shop-box", NEW).get("web", "")


OLDER = f"runs an older definition, of release {OLD[:12]}"


@pytest.mark.parametrize(
    ("container", "note", "said"),
    [
        (WEB, NOTE, ""),
        # Left alone by compose, since its definition is the same: the label is older and the container is right.
        (replace(WEB, config_files=files_of(OLD)), NOTE, ""),
        # Made anew by somebody, from the same definition.
        (replace(WEB, id="c3"), NOTE, ""),
        (replace(WEB, id="c3", config_files=files_of(OLD)), NOTE, ""),
        # What Docker restarted after a power loss, or somebody brought up.
        (replace(WEB, id="c1", config_hash="h1", config_files=files_of(OLD)), NOTE, OLDER),
        (replace(WEB, id="c3", config_hash="h3"), NOTE, "runs another definition than the release's"),
        (replace(WEB, id="c3", config_hash=""), NOTE, "runs another definition than the release's"),
        (replace(WEB, id="c3", mounts=()), NOTE, "has other mounts than the release's"),
        (replace(WEB, id="c3", mounts=(replace(DATA, rw=False),)), NOTE, "has other mounts than the release's"),
        (
            replace(WEB, id="c3", config_hash="", config_files=""),
            NOTE,
            "runs a definition that is of no release",
        ),
        # Power went before the new release was up: what is noted is of the older one.
        (replace(WEB, id="c1", config_files=files_of(OLD)), {**NOTE, "release": OLD}, OLDER),
        (replace(WEB, id="c1", config_files=files_of(OLD)), None, OLDER),
        (WEB, {**NOTE, "release": OLD}, ""),
        (WEB, None, ""),
        # Another environment's note says nothing about this one.
        (replace(WEB, config_files=files_of(OLD)), {**NOTE, "project": "shop-other"}, OLDER),
        (replace(WEB, config_files=files_of(OLD)), "no note at all", OLDER),
        (replace(WEB, project="other", config_files=""), NOTE, ""),
        (replace(WEB, oneoff=True, config_files=""), NOTE, ""),
    ],
)
def test_a_container_is_of_the_release_or_not(container: ContainerFacts, note: Any, said: str) -> None:
    assert found(container, note) == said


def test_volumes_without_a_name_do_not_differ() -> None:
    nameless = {"type": "volume", "source": "a" * 64, "destination": "/cache", "rw": True}
    note = {**NOTE, "containers": {"c2": {"service": "web", "hash": "h2", "mounts": [nameless]}}}
    again = replace(WEB, id="c3", mounts=parse_mounted([{**nameless, "source": "b" * 64}]))
    assert found(again, note) == ""


def test_what_mounts_a_file_that_was_put_back_is_named() -> None:
    facts = HostFacts("one", containers=(replace(WEB, mounts=(ASSET,)), replace(WEB, service="db")))
    assert mounts_of_healed(facts, "shop-box", NEW, ["assets/conf/a.ini"]) == {"web": "assets/conf/a.ini"}
    assert mounts_of_healed(facts, "shop-box", NEW, ["assets/conf2/a.ini", "compose.yml"]) == {}
    assert mounts_of_healed(facts, "shop-box", OLD, ["assets/conf/a.ini"]) == {}


def test_a_note_that_is_nonsense_is_none() -> None:
    assert parse_started([1]) is None
    assert parse_started({"containers": [], "healed": 3, "release": {}}) == StartedFacts()
