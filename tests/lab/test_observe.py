"""Facts and evidence of real hosts."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator

import pytest

from canaryctl.agent.read.envfile import secrets_mac
from canaryctl.config.environment import Host
from canaryctl.hosts import Fleet, collect, observe
from canaryctl.lab.state import directory

pytestmark = pytest.mark.lab

PROJECT = "obstest-lab"
IMAGE = "canaryctl/obstest/web:0123456789ab"


@pytest.fixture(scope="module")
def hosts(lab_env: dict[str, str]) -> dict[str, Host]:
    state = directory(lab_env["CANARYCTL_LAB"])
    lab = json.loads((state / "lab.json").read_text())["hosts"]
    return {
        name: Host(
            name,
            (),
            {
                "ansible_host": "127.0.0.1",
                "ansible_port": entry["port"],
                "ansible_user": "ops",
                "ansible_ssh_private_key_file": str(state / "id_ed25519"),
                "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={state}/known_hosts -o IdentitiesOnly=yes",
                "canary_root": "/opt/obstest",
            },
        )
        for name, entry in lab.items()
    }


@pytest.fixture(scope="module")
def pool(hosts: dict[str, Host]) -> Iterator[Fleet]:
    with Fleet(hosts) as fleet:
        yield fleet


def sudo(pool: Fleet, host: str, script: str) -> str:
    done = pool.get(host).run(f"sudo -n sh -ec {shlex.quote(script)}", timeout=60)
    assert done.ok, done.complaint
    return done.text


@pytest.fixture(scope="module")
def box(pool: Fleet, hosts: dict[str, Host]) -> str:
    """A host with Docker."""
    found, _ = pool.each(hosts, lambda connection: connection.run("command -v docker").ok)
    provisioned = [name for name, has in found.items() if has]
    if not provisioned:
        pytest.skip("no host of this lab is provisioned yet")
    return provisioned[-1]


@pytest.fixture(scope="module")
def service(pool: Fleet, box: str) -> Iterator[str]:
    """A compose-labelled container on a host with Docker, from an image made of the host's own shell."""
    sudo(
        pool,
        box,
        "files=$(ldd /bin/sh /bin/sleep | grep -o '/[^ :]*' | grep -v '^/bin/' | sort -u);"
        f" tar -chf - /bin/sh /bin/sleep $files 2>/dev/null | docker import - {IMAGE} >/dev/null;"
        f" docker run -d --name {PROJECT}-web-1 -p 127.0.0.1:18123:80 -v obstest_data:/data"
        f" --label com.docker.compose.project={PROJECT} --label com.docker.compose.service=web -e WORD=kept"
        f" {IMAGE} /bin/sh -c 'echo to-out; echo to-err >&2; exec sleep 600' >/dev/null",
    )
    time.sleep(0.5)
    yield PROJECT
    sudo(
        pool,
        box,
        f"docker rm -f {PROJECT}-web-1 >/dev/null; docker volume rm obstest_data >/dev/null;"
        f" docker rmi {IMAGE} >/dev/null",
    )


def test_all_hosts_are_seen_at_once(pool: Fleet, hosts: dict[str, Host]) -> None:
    broken = Host("gone", (), {**hosts["canary-1"].vars, "ansible_port": 1})
    with Fleet([*hosts.values(), broken]) as fleet:
        seen = observe(fleet, fleet.hosts, stack="obstest", nonce="ab12")
    assert list(seen.failures) == ["gone"] and list(seen.facts) == list(hosts)
    for name, facts in seen.facts.items():
        assert facts.hostname == name and facts.os.id == "debian" and facts.become in ("sudo", "none")
        assert facts.disks["/"].free > 0 and any(port.port == 22 for port in facts.ports)
        assert abs(facts.clock_skew) < 1 and facts.user == "ops" and not facts.errors


def test_docker_is_seen_in_full(pool: Fleet, hosts: dict[str, Host], box: str, service: str) -> None:
    facts = observe(pool, [box], stack="obstest", nonce="ab12").facts[box]
    assert facts.docker is not None and facts.docker.running and facts.docker.root == "/var/lib/docker"
    assert facts.compose and facts.docker.root in facts.disks
    container = facts.container("web", service)
    assert container is not None and (container.state, container.restarts, container.exit_code) == ("running", 0, 0)
    assert container.started and abs(container.started - time.time()) < 120
    assert [(p.address, p.port, p.container_port) for p in container.ports] == [("127.0.0.1", 18123, 80)]
    assert facts.listener(18123)
    image = next(image for image in facts.images if IMAGE in image.tags)
    assert image.layers and facts.has_image(image.id, image.layers)
    assert "obstest_data" in [volume.name for volume in facts.volumes]


def test_the_state_of_a_stack_is_read_as_root(pool: Fleet, hosts: dict[str, Host]) -> None:
    identity = "a1" * 32
    release = f"{identity}-0123abcd"  # names of another form are not believed
    sudo(
        pool,
        "canary-1",
        f"base=/opt/obstest/obstest; there=$base/releases/{release}; mkdir -p $there/assets;"
        f' echo \'{{"id": "{identity}"}}\' >$there/release.json;'
        f" echo a >$there/assets/a; ln -sfn releases/{release} $base/current;"
        " (umask 077; printf 'A=b\\n' >$base/secrets.env); echo '{\"what\": \"deploy\"}' >$base/history.jsonl",
    )
    try:
        state = observe(pool, ["canary-1"], stack="obstest", nonce="ab12").facts["canary-1"].state
        assert state.current == release and (state.current_release or {})["id"] == identity
        assert set(state.releases[release].files) == {"release.json", "assets/a"}
        assert state.secrets == secrets_mac("ab12", b"A=b\n") and state.history == ({"what": "deploy"},)
        plain = Host("canary-1", (), {**hosts["canary-1"].vars, "ansible_become": False})
        with Fleet([plain]) as fleet:
            found = observe(fleet, fleet.hosts, stack="obstest", nonce="ab12").facts["canary-1"]
        assert found.become == "none" and "state.secrets" in found.errors and found.state.current == release
    finally:
        sudo(pool, "canary-1", "rm -r /opt/obstest")


def test_evidence_comes_home(pool: Fleet, hosts: dict[str, Host], box: str, service: str) -> None:
    found = collect(pool.get(box), service)
    log = found["logs"]["web"]
    assert "to-out" in log and "to-err" in log and not found["errors"]
    assert found["containers"][0]["Config"]["Env"][0] == "WORD=kept"
    assert collect(pool.get(box), service, since=time.time() + 60)["logs"] == {"web": ""}
    assert collect(pool.get(box), "obstest-none")["containers"] == []


def test_a_label_brings_no_file_home_but_a_releases_own(
    pool: Fleet, hosts: dict[str, Host], box: str, service: str
) -> None:
    base = "/opt/obstest/obstest"
    rendered = f"{base}/releases/r1/compose.yml"
    sudo(
        pool, box, f"mkdir -p {base}/releases/r1; echo 'services: {{}}' >{rendered}; ln -s /etc {base}/releases/r1/etc"
    )
    said = {}
    try:
        for label in (
            "/etc/shadow",
            f"{base}/releases/r1/etc/shadow",
            f"{base}/releases/../../../../etc/passwd",
            rendered,
        ):
            given = f"--label com.docker.compose.project={service}-label"
            given += f" --label com.docker.compose.project.config_files={label}"
            sudo(pool, box, f"docker run -d --name obstest-label {given} {IMAGE} /bin/sleep 600 >/dev/null")
            found = collect(pool.get(box), f"{service}-label", stack="obstest")
            assert found["containers"] and not found["errors"]
            said[label] = found["compose"]
            sudo(pool, box, "docker rm -f obstest-label >/dev/null")
    finally:
        sudo(pool, box, "docker rm -f obstest-label >/dev/null 2>&1; rm -r /opt/obstest")
    assert said.pop(rendered) == "services: {}\n" and set(said.values()) == {""}


@pytest.fixture
def guest(pool: Fleet, hosts: dict[str, Host]) -> Iterator[Host]:
    """A user of canary-1 whose sudo wants a password."""
    sudo(
        pool,
        "canary-1",
        "useradd -m -s /bin/sh obsguest; echo obsguest:open-sesame | chpasswd; mkdir /home/obsguest/.ssh;"
        " cp /home/ops/.ssh/authorized_keys /home/obsguest/.ssh/; chown -R obsguest /home/obsguest;"
        " echo 'obsguest ALL=(ALL) ALL' >/etc/sudoers.d/obsguest",
    )
    yield Host("canary-1", (), {**hosts["canary-1"].vars, "ansible_user": "obsguest"})
    sudo(
        pool,
        "canary-1",
        "rm /etc/sudoers.d/obsguest; pkill -KILL -u obsguest || true; userdel -rf obsguest 2>/dev/null",
    )


def test_refused_sudo_is_said_and_a_password_helps(guest: Host) -> None:
    for password, become in ((None, "refused"), ("wrong", "refused"), ("open-sesame", "sudo")):
        with Fleet([guest], password) as fleet:
            seen = observe(fleet, fleet.hosts, stack="obstest", nonce="ab12")
        facts = seen.facts["canary-1"]
        assert (facts.become, facts.user) == (become, "obsguest")
        assert become == "sudo" or facts.become_reason
        assert "open-sesame" not in json.dumps(facts.raw)


def test_a_host_without_that_python_says_so(hosts: dict[str, Host]) -> None:
    host = Host("canary-1", (), {**hosts["canary-1"].vars, "ansible_python_interpreter": "/opt/none/python3"})
    with Fleet([host]) as fleet:
        error = observe(fleet, fleet.hosts, stack="obstest", nonce="00").failures["canary-1"]
    assert "/opt/none/python3" in error.what
