"""What guards data: mounts as compose writes them, what a host says of its containers and releases."""

from __future__ import annotations

from typing import Any

from fuzzing import fuzzed, mutations, texts
from hypothesis import strategies as st

from canaryctl.agent.write.prune import tags_of, written_by_others
from canaryctl.config.stack import Stack
from canaryctl.facts.host import ContainerFacts, DockerFacts, HostFacts, ReleaseFacts, StateFacts, VolumeFacts
from canaryctl.facts.started import parse_mounted, parse_started
from canaryctl.plan.dataguard import require_data_outside
from canaryctl.plan.definitions import mounts_of_healed, other_definitions
from canaryctl.plan.drift import drift
from canaryctl.plan.leftdata import Known, data_problems, hidden_content, left_behind
from canaryctl.plan.mounting import interpolated, mountings
from canaryctl.plan.releasefiles import foreign_notes
from canaryctl.plan.rendering import Rendering

COMPOSE: dict[str, Any] = {
    "services": {
        "web": {
            "volumes": [
                "data:/data",
                "./assets:/assets:ro",
                "${STATE:-/srv/state}:/state",
                {"type": "bind", "source": "/srv/x", "target": "/x", "read_only": True, "bind": {"selinux": "z"}},
                {"type": "volume", "source": "own", "target": "/own"},
                "/anonymous",
            ],
            "extends": {"file": "assets/base.yml", "service": "base"},
        },
    },
    "include": ["assets/base.yml", {"path": ["assets/base.yml"]}],
    "volumes": {
        "data": {"name": "kept"},
        "own": {"driver_opts": {"type": "none", "o": "bind", "device": "/srv/own"}},
        "theirs": {"external": {"name": "theirs"}},
    },
}
STACK = Stack.model_validate(
    {
        "stack": "shop",
        "images": {"web": {"tag": "postgres:17"}},
        "variants": {"only": {"web": "web"}},
        "placement": {"all": ["web"]},
        "compose": "compose.yml.j2",
    }
)
NEW = f"{'2' * 64}-bbbbbbbb"
MOUNTS = [
    {"type": "volume", "source": "shop-box_data", "destination": "/data", "rw": True},
    {"type": "bind", "source": f"/opt/canaryctl/shop/releases/{NEW}/assets", "destination": "/a", "rw": False},
]
NOTE = {
    "release": NEW,
    "project": "shop-box",
    "containers": {"c": {"service": "web", "hash": "h", "mounts": MOUNTS}},
    "healed": ["assets/a"],
}


@fuzzed(mutations(COMPOSE))
def test_mounts_of_a_compose_document(value: Any) -> None:
    if isinstance(value, dict):
        for one in mountings(value, "shop-box", ["SECRET"]):
            assert one.type in ("bind", "volume")
        require_data_outside(value, "shop", "compose.yml", secrets=["SECRET"], read=lambda _: value)


@fuzzed(texts("./state:/state:rw", "data:/data", "${A:-${B:-./x}}:/x:z,ro", "/srv/x:/x", "C:\\x:/y", "$SECRET/x:/x"))
def test_a_volume_in_short_form(value: str) -> None:
    interpolated(value, frozenset({"SECRET"}))
    compose = {"services": {"web": {"volumes": [value]}}}
    mountings(compose, "shop-box", ["SECRET"])
    require_data_outside(compose, "shop", "compose.yml", secrets=["SECRET"])


@fuzzed(st.tuples(mutations(NOTE), mutations(MOUNTS), mutations({"environment": "box", "files": {"a": "1"}})))
def test_what_a_host_says_of_its_containers_and_releases(value: tuple[Any, Any, Any]) -> None:
    note, mounts, release = value
    container = ContainerFacts(project="shop-box", service="web", config_hash="h", mounts=parse_mounted(mounts))
    document = release if isinstance(release, dict) else None
    releases = {NEW: ReleaseFacts(document, {"compose.yml": "1", "state/row": "2"})}
    facts = HostFacts(
        "one",
        docker=DockerFacts(running=True),
        containers=(container,),
        volumes=(VolumeFacts("shop-box_old", project="shop-box"),),
        state=StateFacts(current=NEW, releases=releases, started=parse_started(note)),
    )
    rendering = Rendering("one", NEW, ("web",), {}, (), mounts=tuple(mountings(COMPOSE, "shop-box")))
    other_definitions(facts, "shop-box", NEW)
    mounts_of_healed(facts, "shop-box", NEW, ["assets/a"])
    foreign_notes(facts, NEW)
    drift(facts, "shop-box")
    data_problems(left_behind(STACK, rendering, "shop-box", ("shop-x",), facts, Known(("box",))), agreed=False)
    hidden_content(rendering, "shop-box", facts, {"web"})


@fuzzed(mutations({"environment": "box", "files": {"a": "1"}, "images": {"web": {"tag": "canaryctl/shop/web:x"}}}))
def test_a_release_json_that_pruning_reads(value: Any) -> None:
    if isinstance(value, dict):
        assert all(isinstance(tag, str) for tag in tags_of(value))
        written_by_others("/nonexistent/x-00000000", value)
