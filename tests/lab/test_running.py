"""Passed means that this release runs: what was restarted from an older definition is found, told and healed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Box, Ctl
from toy import COMPOSE, Toy

pytestmark = pytest.mark.lab
PAGE = 'command: [python3, -m, http.server, "8000"]'
CONF = "volumes: [data:/data, ./assets/conf/motd:/motd:ro]"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A toy whose first version is deployed; each test goes on with what the one before left."""
    made = Toy(tmp_path_factory.mktemp("defs"), "defs", 18731, ctl, box)
    made.environment("box", "canary-1")
    made.write("conf/motd", "as deployed\n")
    made.write("stack.yml", (made.folder / "stack.yml").read_text() + "assets: [conf/]\n")
    version(made, "1")
    try:
        done = made.deploy("box")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()


def version(toy: Toy, number: str) -> None:
    text = COMPOSE.format(port=toy.port).replace("volumes: [data:/data]", CONF)
    toy.write("compose.yml.j2", text.replace(PAGE, f'environment: {{VERSION: "{number}"}}\n    {PAGE}'))


def served(toy: Toy) -> str:
    return toy.box("canary-1").run("docker exec defs-box-web-1 printenv VERSION").strip()


def changes(toy: Toy) -> list[tuple[str, str, str]]:
    plan = toy.run("plan", "box", "--output", "json").document["plan"]["changes"]
    return [(c["stage"], c["what"], c["reason"]) for c in plan]


def test_an_older_definition_is_told_everywhere_and_healed(toy: Toy) -> None:
    host = toy.box("canary-1")
    first = host.run(f"readlink {toy.root}/current").strip()
    version(toy, "2")
    done = toy.deploy("box")
    assert done.code == 0 and served(toy) == "2", done.text[-3000:]
    assert changes(toy) == []
    host.run(
        f"docker rm -f defs-box-web-1 && docker compose -p defs-box -f {toy.root}/{first}/compose.yml up -d --wait 2>&1"
    )
    assert served(toy) == "1"
    said = f"runs an older definition, of release {first.rpartition('/')[2][:12]}"
    assert changes(toy) == [("start", "web", said)]
    assert f"drift: web {said}" in toy.run("status", "box").out
    assert f"web {said}" in toy.run("audit", "box", "--output", "json").out
    probed = toy.run("probe", "box", "--output", "json")
    assert (probed.code, probed.document["verdict"]) == (1, "failed")
    assert said in probed.document["error"]["what"] and "canary-1" in probed.document["error"]["where"]
    healed = toy.deploy("box")
    assert healed.code == 0 and served(toy) == "2", healed.text[-3000:]
    assert changes(toy) == []
    assert "drift" not in toy.run("status", "box").out


def test_a_release_without_a_note_of_its_start_is_brought_up_once(toy: Toy) -> None:
    """As a power loss leaves it: current is the new release, what was noted is of the older one."""
    host = toy.box("canary-1")
    note = json.loads(host.run(f"cat {toy.root}/started.json"))
    host.run(f"rm {toy.root}/started.json")
    assert changes(toy) == []  # every label names the release
    version(toy, "3")
    assert toy.deploy("box").code == 0
    assert json.loads(host.run(f"cat {toy.root}/started.json"))["release"] != note["release"]
    # Of two hand-made states: the definition is the release's own, and then one with other mounts.
    release = host.run(f"readlink -f {toy.root}/current").strip()
    host.run(f"docker compose -p defs-box -f {release}/compose.yml up -d --force-recreate --wait 2>&1")
    assert changes(toy) == []


def test_a_start_that_was_cut_off_while_a_container_was_replaced_goes_on(toy: Toy) -> None:
    """compose makes the successor as <12 hex digits>_NAME before it removes the container."""
    host = toy.box("canary-1")
    labels = "--label com.docker.compose.project=defs-box --label com.docker.compose.service=web"
    labels += " --label com.docker.compose.oneoff=False --label com.docker.compose.container-number=1"
    host.run(
        f"docker create --name 0123456789ab_defs-box-web-1 {labels} $(docker inspect -f '{{{{.Config.Image}}}}' "
        "defs-box-web-1) true && docker stop defs-box-web-1"
    )
    version(toy, "4")
    done = toy.deploy("box")
    assert done.code == 0 and served(toy) == "4", done.text[-3000:]
    assert "0123456789ab" not in host.run("docker ps -a --format '{{.Names}}'")


def test_healing_keeps_what_somebody_wrote_and_remakes_what_mounts_it(toy: Toy) -> None:
    host = toy.box("canary-1")
    host.run(f"cd {toy.root}/current && sed -i 's/deployed/edited by hand/' assets/conf/motd && mkdir state")
    host.run(f"echo precious > {toy.root}/current/state/row")
    planned = changes(toy)
    assert [(stage, what) for stage, what, _ in planned][1:] == [("start", "web")]
    assert planned[1][2] == "mounts assets/conf/motd, which is put back"
    healed = toy.deploy("box")
    assert healed.code == 0, healed.text[-3000:]
    assert host.run("docker exec defs-box-web-1 cat /motd") == "as deployed\n"
    kept = host.run(f"cd {toy.root}/current && ls assets/conf/motd.drifted-*").strip()
    assert host.run(f"cat {toy.root}/current/{kept}") == "as edited by hand\n"
    report = (Path(healed.document["directory"]) / "report.md").read_text()
    assert any(kept in note for note in healed.document["notes"]) and kept in report
    again = toy.deploy("box")
    assert again.code == 0 and again.document["plan"]["changes"] == []
    assert any("state/row" in note for note in again.document["notes"])
    assert host.run(f"cat {toy.root}/current/state/row") == "precious\n"
