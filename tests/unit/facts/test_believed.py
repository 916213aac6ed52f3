"""What a host says is checked where it is read: types, sizes, names. Odd things of others stop nothing."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest

from canaryctl.errors import HostError
from canaryctl.facts.host import HostFacts, parse

FACTS = json.loads((Path(__file__).parents[2] / "fixtures/facts/canary.json").read_text())
LOOKUP = "x{{ lookup('pipe', 'id') }}"
DIRECTORY = FACTS["state"]["current"]


def changed(*path: Any, to: Any) -> dict[str, Any]:
    document = copy.deepcopy(FACTS)
    holder: Any = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = to
    return document  # type: ignore[no-any-return]


def liar(**labels: Any) -> dict[str, Any]:
    container = {**FACTS["containers"][0], "id": "f" * 64, "name": "liar", **labels}
    return {**FACTS, "containers": [*FACTS["containers"], container]}


def only(facts: HostFacts) -> str:
    (said,) = facts.odd
    return said


def test_real_facts_are_believed_whole_and_quickly() -> None:
    facts = parse("canary-1", FACTS)
    assert facts.odd == ()
    assert (len(facts.containers), len(facts.images), len(facts.state.releases)) == (5, 4, 1)
    assert len(facts.state.history) == len(FACTS["state"]["history"])
    assert facts.gpus[0].readings.processes[0].computes and facts.gpus[0].mig[0].profile == "1g.10gb"
    assert facts.state.lock is not None and facts.state.lock.expires.startswith("2025-")
    assert facts.mounts["/srv/models"].sentinel is True and facts.audit.reboot == ("linux-image",)
    began = time.process_time()  # of this process alone: the machine runs other tests
    for _ in range(20):
        parse("canary-1", FACTS)
    assert (time.process_time() - began) / 20 < 0.05  # about a millisecond


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("time",), "now", "time"),
        (("time",), float("nan"), "time"),
        (("time",), 10**400, "time"),
        (("uid",), True, "uid"),
        (("cpu",), [], "cpu"),
        (("cpu", "count"), "8", "cpu_count"),
        (("docker",), [1], "docker"),
        (("docker", "running"), "yes", "docker.running"),
        (("compose", "version"), ["2"], "compose"),
        (("images",), {"id": 1}, "images"),
        (("images", 0, "layers"), [1], "images[0].layers[0]"),
        (("images", 0, "size"), float("inf"), "images[0].size"),
        (("containers", 0), "x", "containers"),
        (("containers", 0, "ports", 0, "port"), "80", "containers[0].ports[0].port"),
        (("containers", 0, "state"), {}, "containers[0].state"),
        (("ports", 0, "pid"), 1e400, "ports[0].pid"),
        (("disks", "/", "free"), "all", "disks./.free"),
        (("gpus", 0, "pci"), 1, "gpus[0].pci"),
        (("gpus", 0, "memory"), -(2**70), "gpus[0].memory"),
        (("gpu", "state"), "fine", "gpu.state"),
        (("gpu", "pci"), [1], "gpu.pci"),
        (("state", "lock", "renewed"), 1e18, "state.lock.renewed"),
        (("state", "releases"), [], "state.releases"),
        (("state", "history"), "none", "history"),
        (("state", "secret_macs"), {"A": 1}, "state.secret_macs.A"),
        (("mounts",), {"a": 1}, "mounts"),
        (("audit", "sshd"), ["x"], "audit.sshd"),
        (("audit", "reboot"), [1], "audit.reboot"),
        (("errors", "x"), "a" * 100_000, "errors.x"),
        (("volumes",), [{"name": f"v{i}"} for i in range(30_000)], "volumes"),
    ],
)
def test_what_no_agent_says_is_the_hosts_failure_and_names_the_field(path: Any, value: Any, field: str) -> None:
    with pytest.raises(HostError, match="cannot be believed") as caught:
        parse("canary-1", changed(*path, to=value))
    assert (caught.value.where, caught.value.reason) == ("canary-1", "agent")
    assert f"believed: {field} " in caught.value.what


@pytest.mark.parametrize("name", [LOOKUP, "--rm", "../x", "UPPER", "a" * 300, ["a"], "a\nb", "*"])
def test_a_container_of_an_odd_project_is_nobodys(name: Any) -> None:
    facts = parse("canary-1", liar(project=name, config_files="/opt/canaryctl/ktrdr/releases/a/compose.yml"))
    found = facts.containers[-1]
    assert (found.name, found.project, found.service, found.config_files) == ("liar", "", "", "")
    assert "compose project of container liar:" in only(facts) and "\n" not in only(facts)


def test_odd_services_and_names_are_left_out() -> None:
    assert parse("canary-1", liar(service=LOOKUP)).containers[-1].project == ""
    assert parse("canary-1", liar(name="web/db")).containers[-1].name == "f" * 12
    assert parse("canary-1", liar(image="x y")).containers[-1].image == ""
    assert len(parse("canary-1", liar(id=LOOKUP)).containers) == len(FACTS["containers"])
    assert parse("canary-1", liar(config_files="a" * 9000)).containers[-1].config_files == ""
    volumes = [{"name": LOOKUP, "project": "x"}, {"name": "fine_1", "project": LOOKUP}]
    facts = parse("canary-1", {**FACTS, "volumes": volumes})
    assert [(v.name, v.project) for v in facts.volumes] == [("fine_1", "")]
    assert len(facts.odd) == 2
    tags = parse("canary-1", changed("images", 0, "tags", to=["a:1", LOOKUP, 5])).images[0].tags
    assert tags == ("a:1",)


def test_many_odd_things_are_told_briefly() -> None:
    said = only(parse("canary-1", {**FACTS, "volumes": [{"name": f"{LOOKUP}{i}"} for i in range(100)]}))
    assert "and 95 more cannot be right and counts for nothing" in said and len(said) < 600


@pytest.mark.parametrize("name", [LOOKUP, "../../etc", "a", f"{DIRECTORY}x", "-o", DIRECTORY.upper()])
def test_a_release_directory_that_is_none_of_ours_is_not_believed(name: str) -> None:
    facts = parse("canary-1", changed("state", "releases", to={name: FACTS["state"]["releases"][DIRECTORY]}))
    assert facts.state.releases == {} and "its release directory" in only(facts)
    facts = parse("canary-1", changed("state", "current", to=name))
    assert facts.state.current is None and "`current`" in only(facts)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), [1]),
        (("id",), {}),
        (("environment",), LOOKUP),
        (("images",), ["x"]),
        (("images", "db"), None),
        (("images", "db", "id"), "sha256:x"),
        (("images", "db", "tag"), LOOKUP),
        (("images", "db", "source"), "--privileged"),
        (("images", "db", "size"), "1"),
        (("services",), {"db": "nothing"}),
        (("services",), {LOOKUP: "db"}),
        (("placed",), ["ghost"]),
        (("placed",), "db"),
        (("files",), {"a": 1}),
    ],
)
def test_a_release_json_that_is_none_of_ours_is_not_believed(path: Any, value: Any) -> None:
    document = changed("state", "releases", DIRECTORY, "release", *path, to=value)
    facts = parse("canary-1", document)
    assert facts.state.current == DIRECTORY and facts.state.current_release is None
    assert f"the release.json of '{DIRECTORY[:12]}'" in only(facts)


@pytest.mark.parametrize(
    "line",
    ["x", {"time": 1e300}, {"time": "soon"}, {"to": ["x"]}, {"contracts": {"a": "b"}}, {"placed": 5}, {"who": 1}],
)
def test_a_line_of_the_history_that_is_none_is_left_out(line: Any) -> None:
    facts = parse("canary-1", changed("state", "history", 0, to=line))
    assert len(facts.state.history) == len(FACTS["state"]["history"]) - 1
    assert "a line of its history:" in only(facts)


@pytest.mark.parametrize("record", ["x", {"time": "soon"}, {"project": 1}, {"backward_compatible": "yes"}])
def test_a_record_of_a_migration_that_is_none_is_not_believed(record: Any) -> None:
    facts = parse("canary-1", changed("state", "migrated", to=record))
    assert facts.state.migrated is None and "migrated.json" in only(facts)
