"""A server with nothing on it, and little room: a lab of its own, since Docker's data lies on a small file system."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import CTL, LABS, ROOT, Box, Ctl
from stopping import Event, interrupted, stop_when
from toy import Toy, evidence, tells

from canaryctl import lab as labs

pytestmark = pytest.mark.lab

LAB, HOST = f"{LABS}-bare", "spare-1"


@pytest.fixture(scope="module")
def env(lab_env: dict[str, str], runs_dir: Path) -> Iterator[dict[str, str]]:
    """The environment of a lab with one host that has 150 MB for Docker's data."""
    made = {**lab_env, "CANARYCTL_LAB": LAB, "CANARYCTL_RUNS": str(runs_dir)}

    def lab(*argv: str) -> None:
        done = subprocess.run([CTL, "lab", *argv], cwd=ROOT, env=made, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        lab("up", "--name", LAB, "--hosts", HOST)
        small = "mkdir -p /var/lib/docker && mount -t tmpfs -o size=150m tmpfs /var/lib/docker"
        subprocess.run(["docker", "exec", labs.require(LAB).hosts[HOST].container, "sh", "-c", small], check=True)
        yield made
    finally:
        lab("down", "--name", LAB, "--purge")


@pytest.fixture(scope="module")
def spare(env: dict[str, str]) -> Callable[[str], Box]:
    """The lab's host by name."""

    def find(name: str) -> Box:
        host = labs.require(LAB).hosts[name]
        return Box(name, host.container, host.address, host.port)

    return find


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, env: dict[str, str], spare: Callable[[str], Box]) -> Toy:
    """A toy that may install Docker in `one`, and may not in `strict`."""
    made = Toy(tmp_path_factory.mktemp("bare"), "toybare", 18841, ctl, spare, env=env)
    made.environment("one", HOST)
    made.environment("strict", HOST, variables={"all": {"canary_provision": "check"}})
    return made


def test_a_host_that_is_not_ready_is_only_named_where_nothing_may_be_installed(toy: Toy) -> None:
    done = toy.deploy("strict")
    tells(done, 6, "Docker is not installed", HOST, "canaryctl provision")
    assert done.document["changed_from"] is None
    evidence(toy.ctl, done.document)
    assert toy.box(HOST).run("command -v docker || true; ls -A /opt") == ""


def installs(event: Event) -> bool:
    """apt is at work by the time the repository question is settled."""
    return event["type"] == "task" and str(event["task"]).endswith("Set up the upstream repository")


def test_provisioning_that_was_interrupted_goes_on(toy: Toy, env: dict[str, str]) -> None:
    interrupted(toy, stop_when(toy, env, ["provision", "one"], installs), toy.box(HOST))
    done = toy.run("provision", "one", "--output", "json")
    assert done.code == 0, done.text[-3000:]
    assert toy.box(HOST).run("docker version --format '{{.Server.Version}}'").strip()
    again = toy.run("provision", "one", "--output", "json")
    assert again.code == 0 and again.document["plan"]["changes"] == []


def test_no_room_for_the_images_is_said_with_figures_before_anything_is_sent(toy: Toy) -> None:
    done = toy.deploy("one")
    tells(done, 6, "not enough room", " MB are needed in /var/lib/docker", "157 MB are free", HOST)
    assert done.document["changed_from"] is None and "Nothing was changed" in done.document["error"]["hint"]
    assert toy.box(HOST).run("docker images -q; ls -A /opt") == ""
    evidence(toy.ctl, done.document)
