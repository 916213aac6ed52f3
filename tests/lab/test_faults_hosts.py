"""Hosts that cannot be reached, authenticated or given sudo: named, with why, and nothing half-changed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Box, Ctl, Result
from toy import Toy, evidence, tells

pytestmark = pytest.mark.lab

STRANGER, PORTER = "toy-stranger", "toy-porter"  # users of canary-1: without sudo; in the docker group


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A toy on canary-1, deployed and healthy."""
    made = Toy(tmp_path_factory.mktemp("hosts"), "toyhosts", 18811, ctl, box)
    made.environment("one", "canary-1")
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()


@pytest.fixture
def changed_template(toy: Toy) -> Iterator[None]:
    """There is something to deploy, and afterwards the host is as it was."""
    before = toy.state("canary-1")
    back = toy.edit("compose.yml.j2", "stop_grace_period: 1s", "stop_grace_period: 2s")
    yield
    back()
    assert toy.state("canary-1") == before


@pytest.fixture(scope="module")
def users(box: Callable[[str], Box]) -> Iterator[None]:
    """Two more users on canary-1 who may log in with the lab's key and have no sudo."""
    host = box("canary-1")
    for user in (STRANGER, PORTER):
        host.run(
            f"id {user} 2>/dev/null || useradd -m -s /bin/sh {user}; mkdir -p ~{user}/.ssh && "
            f"cp ~ops/.ssh/authorized_keys ~{user}/.ssh/ && chown -R {user}: ~{user}/.ssh"
        )
    host.run(f"usermod -aG docker {PORTER}")
    yield
    for user in (STRANGER, PORTER):
        host.run(f"pkill -u {user}; userdel -rf {user} 2>/dev/null; rm -rf /home/{user}", check=False)


def new_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def refused(done: Result, ctl: Ctl, *words: str) -> None:
    """Exit 3 before any change, recorded."""
    tells(done, 3, *words)
    document = done.document
    assert document["verdict"] == "error" and document["changed_from"] is None
    assert document["error"]["where"] == "canary-1"
    evidence(ctl, document)


@pytest.mark.usefixtures("changed_template")
def test_a_host_that_is_down_stops_a_deploy_before_any_change(toy: Toy, ctl: Ctl, box: Callable[[str], Box]) -> None:
    box("canary-1").cut_ssh()
    try:
        refused(toy.deploy("one"), ctl, "canary-1", "SSH handshake", "--limit")
        seen = toy.run("status", "one", "--output", "json")
        assert seen.code == 3 and seen.document["hosts"]["canary-1"]["reachable"] is False
        tells(seen, 3, "canary-1", "SSH handshake")
    finally:
        box("canary-1").mend_ssh()


@pytest.mark.usefixtures("changed_template")
@pytest.mark.parametrize("fault", ["port", "key", "host key"])
def test_wrong_port_key_and_host_key_name_the_host_and_why(
    toy: Toy, ctl: Ctl, tmp_path: Path, box: Callable[[str], Box], fault: str
) -> None:
    known = tmp_path / "known_hosts"
    options = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    variables: dict[str, Any]
    if fault == "port":
        variables, why = {"ansible_port": 1}, "refuse"
    elif fault == "key":
        variables, why = {"ansible_ssh_private_key_file": str(new_key(tmp_path / "key"))}, "refuses"
    else:
        public = new_key(tmp_path / "other").with_suffix(".pub").read_text()
        known.write_text(f"[127.0.0.1]:{box('canary-1').port} {public}")
        variables, why = {"ansible_ssh_common_args": options}, "changed"
    toy.environment("wrong", "canary-1", variables={"canary-1": variables})
    refused(toy.deploy("wrong"), ctl, "canary-1", why)


@pytest.mark.usefixtures("changed_template", "users")
def test_sudo_refused_names_the_user_and_the_way_out(toy: Toy, ctl: Ctl) -> None:
    toy.environment("stranger", "canary-1", variables={"all": {"ansible_user": STRANGER}})
    refused(toy.deploy("stranger"), ctl, "sudo is refused", STRANGER, "--ask-become-pass")


@pytest.mark.usefixtures("changed_template", "users")
def test_docker_alone_is_not_enough_where_the_root_cannot_be_written(toy: Toy, ctl: Ctl) -> None:
    toy.environment("porter", "canary-1", variables={"all": {"ansible_user": PORTER, "canary_provision": "check"}})
    refused(toy.deploy("porter"), ctl, "sudo is refused", PORTER, "canary_root")


@pytest.mark.usefixtures("users")
def test_a_user_in_the_docker_group_deploys_without_sudo(ctl: Ctl, box: Callable[[str], Box], tmp_path: Path) -> None:
    root = f"/home/{PORTER}/canary"
    own = Toy(tmp_path, "toyporter", 18812, ctl, box)
    policy = {
        **{"ansible_user": PORTER, "ansible_become": False},
        **{"canary_provision": "check", "canary_root": root, "canary_secrets": {"TOKEN": {"env": "TOY_TOKEN"}}},
    }
    own.environment("porter", "canary-1", variables={"all": policy})
    own.edit("stack.yml", "start_timeout: 30\n", "start_timeout: 30\nsecrets: [TOKEN]\n")
    own.edit("compose.yml.j2", '    user: "0"\n', '    user: "0"\n    environment: {TOKEN: "${TOKEN:?}"}\n')
    try:
        secret = {"TOY_TOKEN": "not to be seen"}
        done = own.run("deploy", "porter", "--yes", "--output", "json", env=secret)
        assert done.code == 0, done.text[-3000:]
        owner = box("canary-1").run(f"stat -c '%U %a' {root}/toyporter/secrets.env {root}/toyporter/history.jsonl")
        assert owner.split() == [PORTER, "600", PORTER, "644"]
        again = own.run("deploy", "porter", "--yes", "--output", "json", env=secret)
        assert again.code == 0 and again.document["plan"]["changes"] == []
        down = own.run("down", "porter", "--yes", env=secret)
        assert down.code == 0, down.text[-3000:]
    finally:
        own.clean()


def test_the_other_hosts_work_is_done_and_reported(
    ctl: Ctl, box: Callable[[str], Box], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pair = Toy(tmp_path_factory.mktemp("pair"), "toypair", 18813, ctl, box)
    nowhere = {"ansible_port": 1, "canary_address": "127.0.0.1"}
    pair.environment("pair", "canary-1", "gone-1", variables={"gone-1": nowhere})
    try:
        pushed = pair.run("push", "pair", "--yes", "--output", "json")
        tells(pushed, 3, "gone-1", "refuse")
        assert pushed.document["verdict"] == "error"
        done = [(s["name"], s["host"], s["status"]) for s in pushed.document["stages"] if s["name"] == "push"]
        assert done == [("push", "canary-1", "changed")]
        evidence(ctl, pushed.document)
        collected = pair.run("collect", "pair", "--output", "json")
        assert collected.code == 3
        assert (evidence(ctl, collected.document) / "hosts/canary-1/facts.after.json").is_file()
        stopped = pair.deploy("pair")
        tells(stopped, 3, "gone-1", "--limit")
        assert stopped.document["changed_from"] is None and pair.state("canary-1")["containers"] == ""
        rest = pair.deploy("pair", "--limit", "all:!gone-1")
        assert rest.code == 0, rest.text[-3000:]
        assert "toypair-pair-web-1" in pair.state("canary-1")["containers"]
        assert {change["host"] for change in rest.document["plan"]["changes"]} == {"canary-1"}
    finally:
        pair.hosts = {"canary-1"}
        pair.clean()
