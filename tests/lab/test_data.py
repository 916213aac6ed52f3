"""Data guard: what services and people wrote stays, and what would stay behind is told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Box, Ctl
from toy import COMPOSE, Toy

pytestmark = pytest.mark.lab
DATA = "volumes: [data:/data]"
DATABASE = "data:/var/lib/postgresql"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("data") / "project", "datas", 18741, ctl, box)
    made.environment("box", "canary-1")
    made.clean()
    yield made
    made.clean()


@pytest.fixture
def served(toy: Toy) -> None:
    """`box` serves, with its data where databases have it; after a `down` what lies there is started by hand."""
    mounting(toy, DATABASE)
    host = toy.box("canary-1")
    listed = host.run(f"cd {toy.root}/releases 2>/dev/null && grep -lF \"'{DATABASE}'\" */compose.yml || true").split()
    if not listed:
        assert toy.deploy("box").code == 0
        return
    release = Path(listed[-1]).parent
    host.run(
        f"cd {toy.root} && {{ [ -L current ] || rm -rf current; }} && ln -sfn releases/{release} current && "
        f"docker compose --project-name datas-box --file {toy.root}/releases/{release}/compose.yml up --detach --wait"
    )


def mounting(toy: Toy, mount: str, name: str = "data") -> None:
    text = COMPOSE.format(port=toy.port).replace(DATA, f"volumes: ['{mount}']")
    toy.write("compose.yml.j2", text.replace("volumes: {data: {}}", f"volumes: {{{name}: {{}}}}"))


def test_a_mount_that_writes_into_the_release_is_refused_before_any_change(toy: Toy) -> None:
    mounting(toy, "./state:/state")
    before = toy.state("canary-1")
    refused = toy.run("deploy", "box", "--yes", "--output", "json")
    assert refused.code == 2 and toy.state("canary-1") == before
    error = refused.document["error"]
    assert "./state" in error["what"] and "named volume" in error["hint"] and "compose.yml.j2" in error["where"]
    assert toy.run("plan", "box").code == 2


def test_a_databases_mount_that_moves_needs_agreement(toy: Toy, served: None) -> None:
    host = toy.box("canary-1")
    host.run("docker exec datas-box-web-1 sh -c 'echo precious > /var/lib/postgresql/row'")
    mounting(toy, "pgdata:/var/lib/postgresql", "pgdata")
    before = toy.state("canary-1")
    refused = toy.deploy("box")
    assert refused.code == 2 and "--leave-data" in refused.text, refused.text[-3000:]
    assert "volume datas-box_data" in refused.text and toy.state("canary-1") == before
    left = toy.deploy("box", "--leave-data")
    assert left.code == 0 and any("volume datas-box_data" in note for note in left.document["notes"])
    place = host.run("docker volume inspect -f '{{.Mountpoint}}' datas-box_data").strip()
    assert host.run(f"cat {place}/row") == "precious\n"
    mounting(toy, DATABASE)
    assert toy.deploy("box", "--leave-data").code == 0
    assert "precious" in host.run("docker exec datas-box-web-1 cat /var/lib/postgresql/row")


@pytest.mark.parametrize("put", ["mkdir current && echo precious >current/row", "echo precious >current"])
def test_what_somebody_put_in_the_place_of_current_stays(toy: Toy, served: None, put: str) -> None:
    host = toy.box("canary-1")
    host.run(f"cd {toy.root} && rm current && {put}")
    refused = toy.deploy("box")
    assert refused.code == 6 and "current" in refused.document["error"]["what"], refused.text
    assert toy.run("down", "box", "--yes").code == 0
    assert "precious" in host.run(f"cat {toy.root}/current/row {toy.root}/current; true")


@pytest.mark.parametrize("spelled", ["false", "no", "0"])
def test_down_with_plain_ansible_keeps_volumes_whatever_spells_no(toy: Toy, served: None, spelled: str) -> None:
    said = {"canary_down_volumes": spelled, "canary_stack": "datas", "canary_environment": "box"}
    said |= {"canary_project": "datas-box"}
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(toy.folder / "inventories/box")]
    argv += ["playbooks/down.yml", *(part for name, value in said.items() for part in ("-e", f"{name}={value}"))]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    volumes = toy.box("canary-1").run("docker volume ls -q")
    assert "datas-box_data" in volumes and "datas-box-web-1" not in toy.box("canary-1").run("docker ps")


def test_an_environment_in_the_place_of_another_and_one_that_was_renamed(toy: Toy, served: None) -> None:
    toy.environment("other", "canary-1")
    over = toy.deploy("other")
    assert over.code == 0, over.text[-3000:]
    assert any("deploying box finds it again" in note for note in over.document["notes"])
    inventories = toy.folder / "inventories"
    shutil.move(inventories / "other", inventories / "renamed")
    refused = toy.deploy("renamed")
    assert refused.code == 2 and "there is no environment other any more" in refused.text, refused.text[-3000:]
    assert toy.run("down", "box", "--yes").code == 0
    assert toy.deploy("renamed", "--leave-data").code == 0
