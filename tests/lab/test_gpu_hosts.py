"""The roles docker_engine and nvidia_container_toolkit on a host of their own that starts bare, with a simulated GPU.

The tests run in this order on one host; each leaves it set up. What a fault is planted with is taken away again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CTL, ROOT, Box
from conftest import LAB as TESTS_LAB

from canaryctl import lab as labs

pytestmark = pytest.mark.lab

LAB, HOST = f"{TESTS_LAB}-gpu", "gpu-1"
ENV = {"BASE_IMAGE": "canaryctl/base:trixie", **os.environ, "CANARYCTL_LAB": LAB}
ANOTHER_KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawWIYxYJKwYBBAHaRw8BAQdA3W+2645JzZJIp/UbEyYBYjpcHWOcC0ft5xtP
U4sIZZy0C2Fub3RoZXIga2V5iJAEExYIADgWIQRs6a+D4Wq7KEYnTcLNVhGunnBY
9QUCawWIYwIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRDNVhGunnBY9aRj
AQChDtpp02B9tEmPHeS76y8KzRSNMVzc0T+ShPCJl9cbNgD/YCylBVkyBZ7EovMH
UgIES+az1x+aINYmw8E97hUSugY=
=BaCN
-----END PGP PUBLIC KEY BLOCK-----
"""
ANOTHER_PRINT = "6CE9AF83E16ABB2846274DC2CD5611AE9E7058F5"
SIGNED = ROOT / "tests" / "fixtures" / "apt"
EXPIRED = {
    "nvidia_container_toolkit_repository_url": "file:/srv/expired",
    "nvidia_container_toolkit_repository_key": (SIGNED / "expired-key.asc").read_text(),
}
MIRROR = f"mkdir -p /srv/expired && cat >/srv/expired/InRelease <<'E'\n{(SIGNED / 'InRelease').read_text()}E\n"
SOURCES = "/etc/apt/sources.list.d/nvidia-container-toolkit.sources"
KEEP, KEPT = f"cp {SOURCES} /run/sources", f"cmp {SOURCES} /run/sources"
LOCKER = """import fcntl, pathlib, time
held = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(held, fcntl.LOCK_EX)
pathlib.Path("/run/locked").touch()
time.sleep(60)
"""
DRIVER = {
    "nvidia_container_toolkit_install_driver": True,
    "nvidia_container_toolkit_driver_packages": ["canaryctl-gpu-simulator"],
}


@dataclass(frozen=True)
class Played:
    """A finished ansible-playbook."""

    code: int
    text: str
    changed: int

    @property
    def message(self) -> str:
        """Everything said, on one line with single spaces."""
        return " ".join(self.text.split())


Play = Callable[..., Played]


@pytest.fixture(scope="module")
def host() -> Iterator[Box]:
    """A bare lab host of these tests alone."""

    def lab(*argv: str) -> None:
        done = subprocess.run([CTL, "lab", *argv, "--name", LAB], cwd=ROOT, env=ENV, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    lab("down", "--purge")
    try:
        lab("up", "--hosts", HOST)
        found = labs.require(LAB).hosts[HOST]
        yield Box(HOST, found.container, found.address, found.port)
    finally:
        lab("down", "--purge")


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Run roles (provision.yml without any) on the host, with plain ansible-playbook.

    `at`: a task's name, and what happens to the host when that begins.
    """
    folder = tmp_path_factory.mktemp("gpu")
    inventory = folder / "inventory"
    staging = ROOT / "inventories" / "staging" / "group_vars"
    for name, source in {"connection": "all/connection.yml", "gpu": "gpu_workers/gpu.yml"}.items():
        target = inventory / "group_vars" / "all" / f"{name}.yml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((staging / source).read_text())
    (inventory / "hosts.yml").write_text(f"all: {{hosts: {{{HOST}: }}}}\n")
    env = {**ENV, "ANSIBLE_ROLES_PATH": str(ROOT / "roles"), "ANSIBLE_PIPELINING": "1"}

    def run(
        *roles: str, check: bool = False, at: tuple[str, Callable[[], object]] | None = None, **variables: Any
    ) -> Played:
        book = ROOT / "playbooks" / "provision.yml"
        if roles:
            book = folder / f"{'-'.join(roles)}.yml"
            book.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "become": True, "roles": roles}]))
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(book)]
        argv += ["--extra-vars", json.dumps(variables), *(["--check"] if check else [])]
        process = subprocess.Popen(
            argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        too_long = threading.Timer(300, process.kill)
        too_long.start()
        text = ""
        for line in process.stdout or ():
            text += line
            if at and at[0] in line:
                at[1]()
        code = process.wait()
        too_long.cancel()
        changed = [int(line.partition("changed=")[2].split()[0]) for line in text.splitlines() if "changed=" in line]
        return Played(code, text, changed[-1] if changed else -1)

    return run


TOOLKIT = "nvidia_container_toolkit"


@pytest.fixture(scope="module")
def ready(host: Box, play: Play) -> Box:
    """The host as provision.yml leaves it, its driver installed on request, with an image to run."""
    done = play(**DRIVER)
    assert done.code == 0, done.text[-4000:]
    save = subprocess.Popen(["docker", "save", "canaryctl/base:trixie"], stdout=subprocess.PIPE)
    load = ["docker", "exec", "-i", host.container, "docker", "load"]
    subprocess.run(load, stdin=save.stdout, check=True, capture_output=True)
    assert save.wait() == 0
    return host


def options(box: Box) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(box.run("cat /etc/docker/daemon.json"))
    return found


def user_sets(box: Box, key: str, value: object) -> dict[str, Any]:
    """An option of the user's own gets into daemon.json; returns all there are then."""
    mine = options(box) | {key: value}
    box.run(f"cat >/etc/docker/daemon.json <<'E'\n{json.dumps(mine)}\nE")
    return mine


def started(box: Box) -> str:
    """When Docker was started."""
    return box.run("systemctl show docker -p ExecMainStartTimestampMonotonic")


def test_a_bare_host_in_check_mode_is_told_what_would_be_done_and_left_bare(host: Box, play: Play) -> None:
    done = play(check=True, **DRIVER)
    assert done.code == 0, done.text[-4000:]
    assert done.changed > 0
    assert host.run("ls /etc/docker /etc/cdi /etc/apt/sources.list.d/nvidia* 2>/dev/null || true") == ""


def test_without_a_driver_nothing_is_changed_and_the_steps_are_said(host: Box, play: Play) -> None:
    done = play(TOOLKIT)
    assert done.code == 2
    assert "no NVIDIA driver answers on this host (there is no nvidia-smi" in done.message
    assert "reboot, or set nvidia_container_toolkit_install_driver" in done.message
    assert host.run("ls /etc/apt/sources.list.d/nvidia* 2>/dev/null || true") == ""


def test_a_driver_from_a_repository_whose_key_has_expired_is_not_installed(host: Box, play: Play) -> None:
    host.run(MIRROR)
    done = play(TOOLKIT, **DRIVER, **EXPIRED)
    host.run("rm -r /srv/expired")
    assert done.code == 2
    assert "the driver (canaryctl-gpu-simulator) could not be installed from file:/srv/expired" in done.message
    assert "signed with a key that has expired in the copy given here: give the renewed key" in done.message
    left = "ls /etc/apt/sources.list.d/nvidia* /var/lib/apt/lists/*expired* /usr/bin/nvidia-smi 2>/dev/null || true"
    assert host.run(left) == ""


@pytest.mark.parametrize(
    "how",
    [
        "--gpus all",
        """--gpus '"driver=nvidia","count=all","capabilities=gpu,compute,utility"'""",
        "--runtime nvidia -e NVIDIA_VISIBLE_DEVICES=all",
        "--device nvidia.com/gpu=all",
    ],
)
def test_containers_are_given_the_gpu(ready: Box, how: str) -> None:
    said = ready.run(f"docker run --rm {how} canaryctl/base:trixie sh -c 'nvidia-smi -L && ls /dev/nvidia0'")
    assert "Simulated GPU" in said
    assert "/dev/nvidia0" in said


def test_a_second_run_changes_nothing_and_keeps_what_a_user_set(ready: Box, play: Play) -> None:
    mine = user_sets(ready, "max-concurrent-downloads", 7)
    before = started(ready)
    again = play()
    assert (again.code, again.changed) == (0, 0), again.text[-4000:]
    assert options(ready) == mine
    assert started(ready) == before


def test_more_gpus_refresh_the_cdi_specification_alone(ready: Box, play: Play) -> None:
    before = started(ready)
    ready.run("canaryctl-gpu-simulator set healthy 2")
    assert play(TOOLKIT).changed == 1
    assert "nvidia.com/gpu=1\n" in ready.run("nvidia-ctk cdi list 2>/dev/null")
    assert started(ready) == before


def test_docker_is_not_restarted_under_the_containers_of_others(ready: Box, play: Play) -> None:
    ready.run("docker run -d --name theirs canaryctl/base:trixie sleep infinity")
    before, was = started(ready), options(ready)
    refused = play(TOOLKIT, nvidia_container_toolkit_default_runtime=True)
    assert refused.code == 2
    assert "containers that are not ours: theirs" in refused.message
    assert (started(ready), options(ready)) == (before, was)
    allowed = play(TOOLKIT, nvidia_container_toolkit_default_runtime=True, canary_allow_docker_restart=True)
    assert allowed.code == 0, allowed.text[-4000:]
    assert options(ready) == was | {"default-runtime": "nvidia"}
    assert started(ready) != before
    assert ready.run("docker inspect -f '{{.State.Running}}' theirs") == "true\n"  # it has no restart policy
    ready.run("docker rm -f theirs")
    assert play(TOOLKIT).code == 0
    assert options(ready) == was
    assert "max-concurrent-downloads" in ready.run("cat /etc/docker/daemon.json.*.bak")


def test_containers_of_others_outlive_a_restart_under_live_restore(ready: Box, play: Play) -> None:
    was = options(ready)
    mine = user_sets(ready, "live-restore", True)
    ready.run("systemctl reload docker && docker run -d --name theirs canaryctl/base:trixie sleep infinity")
    alive = "docker inspect -f '{{.State.Pid}} {{.State.StartedAt}} {{.State.Running}}' theirs"
    before, running = started(ready), ready.run(alive)
    try:
        done = play(TOOLKIT, nvidia_container_toolkit_default_runtime=True)
        assert done.code == 0, done.text[-4000:]
        assert "live-restore is on: the running containers (1) stay up while Docker restarts" in done.message
        assert options(ready) == mine | {"default-runtime": "nvidia"}
        assert started(ready) != before
        assert ready.run(alive) == running
    finally:
        ready.run("docker rm -f theirs")
        assert play(TOOLKIT).code == 0
        ready.run(f"cat >/etc/docker/daemon.json <<'E'\n{json.dumps(was)}\nE\nsystemctl reload docker")


def test_a_host_rebooted_in_the_middle_is_made_good_by_the_next_run(ready: Box, play: Play) -> None:
    was = options(ready)
    reboot = ["sh", "-c", f"docker kill {ready.container} && docker start {ready.container}"]
    # its options are written by then, and Docker has not been restarted
    at = ("See to the CDI specification", lambda: subprocess.run(reboot, check=True, capture_output=True))
    done = play(TOOLKIT, at=at, nvidia_container_toolkit_default_runtime=True)
    assert done.code != 0 and "unreachable=1" in done.message, done.text[-3000:]
    assert options(ready) == was | {"default-runtime": "nvidia"}
    ready.run(
        "for i in $(seq 100); do docker info >/dev/null 2>&1 && ss -ltn | grep -q ':22 ' && exit; sleep 0.2; done"
    )
    again = play(TOOLKIT, nvidia_container_toolkit_default_runtime=True)
    assert again.code == 0, again.text[-3000:]
    assert "nvidia" in ready.run("docker info --format '{{.DefaultRuntime}}'")
    assert play(TOOLKIT, nvidia_container_toolkit_default_runtime=True).changed == 0
    assert play(TOOLKIT).code == 0
    assert options(ready) == was


def test_a_version_is_pinned_and_held_then_let_go(ready: Box, play: Play) -> None:
    old = {"nvidia_container_toolkit_version": "1.16.2-1+simulator", "nvidia_container_toolkit_hold": True}
    assert play(TOOLKIT, **old).code == 0
    assert "version 1.16.2" in ready.run("nvidia-ctk --version")
    assert "nvidia-container-toolkit\n" in ready.run("apt-mark showhold")
    assert play(TOOLKIT, nvidia_container_toolkit_version="latest").code == 0
    assert "version 1.17.8" in ready.run("nvidia-ctk --version")
    assert ready.run("apt-mark showhold") == ""


def test_a_key_is_fetched_where_its_fingerprint_is_pinned(ready: Box, play: Play, tmp_path: Path) -> None:
    key = labs.require(LAB).directory / "simulator/key.asc"
    argv = ["gpg", "--homedir", str(tmp_path), "--with-colons", "--show-keys", str(key)]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    pinned = next(line.split(":")[9] for line in shown.splitlines() if line.startswith("fpr:"))
    ready.run(f"cat >/srv/key.asc <<'E'\n{key.read_text()}E\n")
    done = play(
        TOOLKIT,
        nvidia_container_toolkit_repository_key="file:///srv/key.asc",
        nvidia_container_toolkit_repository_key_fingerprint=pinned,
    )
    assert (done.code, done.changed) == (0, 0), done.text[-3000:]


def test_the_legacy_package_is_mentioned_then_removed_on_request(ready: Box, play: Play) -> None:
    ready.run("apt-get install -qy nvidia-docker2")
    assert "the legacy package nvidia-docker2 2.13.0-1" in play(TOOLKIT).message
    assert play(TOOLKIT, nvidia_container_toolkit_migrate_legacy=True).code == 0
    assert "install ok installed" not in ready.run("dpkg-query -Wf '${Status}' nvidia-docker2 || true")


@pytest.mark.parametrize(
    ("planted", "fixed", "variables", "said"),
    [
        pytest.param(
            KEEP,
            KEPT,
            {"nvidia_container_toolkit_repository_key": ANOTHER_KEY},
            "look at nvidia_container_toolkit_repository_key",
            id="wrong repository key",
        ),
        pytest.param(
            f"{KEEP} && cat >/srv/another.asc <<'E'\n{ANOTHER_KEY}E\n",
            KEPT + " && rm /srv/another.asc",
            {"nvidia_container_toolkit_repository_key": "file:///srv/another.asc"},
            f"gives the key {ANOTHER_PRINT}, not the pinned C95B321B61E88C1809C4F759DDCAE044F796ECB0",
            id="another key where it is fetched",
        ),
        pytest.param(
            KEEP + " && " + MIRROR,
            KEPT + " && rm -r /srv/expired",
            EXPIRED,
            "signed with a key that has expired in the copy given here: give the renewed key",
            id="expired repository key",
        ),
        pytest.param(
            "true",
            "true",
            {"nvidia_container_toolkit_version": "9.9.9-1"},
            "see which versions there are: apt-cache madison",
            id="version that does not exist",
        ),
        pytest.param(
            "cd /etc/docker && cp daemon.json kept && sed -i '1a // mine' daemon.json",
            "cd /etc/docker && mv kept daemon.json",
            {},
            "JSON has no comments; dockerd would refuse it too: fix it by hand",
            id="daemon.json with comments",
        ),
        pytest.param(
            "cd /etc/docker && cp daemon.json kept && echo '{' >daemon.json",
            "cd /etc/docker && mv kept daemon.json",
            {},
            "daemon.json cannot be used: it is not valid JSON",
            id="invalid daemon.json",
        ),
        pytest.param(
            "mkdir -p /etc/systemd/system/docker.service.d && printf '[Service]\nExecStart=\n"
            "ExecStart=/usr/sbin/dockerd -H fd:// --default-runtime runc\n'"
            " >/etc/systemd/system/docker.service.d/flags.conf && systemctl daemon-reload",
            "rm -r /etc/systemd/system/docker.service.d && systemctl daemon-reload",
            {"nvidia_container_toolkit_default_runtime": True},
            "say each option in one place",
            id="conflicting flags in a drop-in",
        ),
        pytest.param(
            f"cat >/run/locker.py <<'E'\n{LOCKER}E\n"
            "setsid python3 /run/locker.py >/dev/null 2>&1 & echo $! >/run/locker;"
            " while [ ! -e /run/locked ]; do sleep 0.1; done",
            "kill $(cat /run/locker); rm /run/locked",
            {"nvidia_container_toolkit_version": "1.16.2-1+simulator", "nvidia_container_toolkit_lock_timeout": 1},
            "lock",
            id="apt locked",
        ),
        pytest.param(
            "mkdir -p /tmp/sick/DEBIAN && printf 'Package: sick\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\n"
            "Description: x\n' >/tmp/sick/DEBIAN/control && printf '#!/bin/sh\nexit 1\n' >/tmp/sick/DEBIAN/postinst &&"
            " chmod 755 /tmp/sick/DEBIAN/postinst && dpkg-deb -b /tmp/sick /tmp/sick.deb && ! dpkg -i /tmp/sick.deb",
            "dpkg --purge sick",
            {"nvidia_container_toolkit_version": "1.16.2-1+simulator"},
            "half-configured: sick; on the host run dpkg --configure -a",
            id="half-configured package",
        ),
        pytest.param(
            "canaryctl-gpu-simulator set no-driver",
            "canaryctl-gpu-simulator set healthy 1",
            {},
            "no NVIDIA driver answers on this host (nvidia-smi says: NVIDIA-SMI has failed",
            id="no driver",
        ),
        pytest.param(
            "canaryctl-gpu-simulator set old-driver",
            "canaryctl-gpu-simulator set healthy 1",
            {"canary_cuda": "12.4"},
            "the driver here is 450.80.02; CUDA 12.4 needs 525.60.13 or later",
            id="driver too old",
        ),
    ],
)
def test_a_fault_is_named_and_leaves_the_host_as_it_was(
    ready: Box, play: Play, planted: str, fixed: str, variables: dict[str, Any], said: str
) -> None:
    before = started(ready)
    ready.run(planted)
    done = play(TOOLKIT, **variables)
    ready.run(fixed)
    assert done.code == 2, done.text[-3000:]
    assert said in done.message
    assert started(ready) == before
    assert "1.17.8" in ready.run("nvidia-ctk --version")


def test_an_old_driver_will_do_for_old_images(ready: Box, play: Play) -> None:
    ready.run("canaryctl-gpu-simulator set old-driver")
    done = play(TOOLKIT, canary_cuda="11.8")
    ready.run("canaryctl-gpu-simulator set healthy 1")
    assert done.code == 0, done.text[-3000:]


def test_options_of_docker_are_merged_and_taken_back(ready: Box, play: Play) -> None:
    was = options(ready)
    wanted = {
        "docker_engine_log_max_size": "10m",
        "docker_engine_address_pools": [{"base": "172.30.0.0/16", "size": 24}],
        "docker_engine_users": ["ops"],
    }
    done = play("docker_engine", **wanted)
    assert done.code == 0, done.text[-3000:]
    assert options(ready) == was | {
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m"},
        "default-address-pools": [{"base": "172.30.0.0/16", "size": 24}],
    }
    assert "docker" in ready.run("id -nG ops")
    assert play("docker_engine", **wanted).changed == 0
    assert play("docker_engine").code == 0
    assert options(ready) == was


def test_both_roles_undo_what_they_did_and_nothing_else(ready: Box, play: Play) -> None:
    user_sets(ready, "max-concurrent-downloads", 7)
    gone = play(TOOLKIT, nvidia_container_toolkit_state="absent")
    assert gone.code == 0, gone.text[-3000:]
    assert options(ready) == {"max-concurrent-downloads": 7}
    assert ready.run("command -v nvidia-ctk; ls /etc/cdi/* /etc/apt/sources.list.d/nvidia* 2>/dev/null || true") == ""
    assert "nvidia" not in ready.run("docker info --format '{{json .Runtimes}}'")
    assert play(TOOLKIT, nvidia_container_toolkit_state="absent").changed == 0
    gone = play("docker_engine", docker_engine_state="absent", docker_engine_users=["ops"])
    assert gone.code == 0, gone.text[-3000:]
    assert ready.run("command -v dockerd || true") == ""
    assert options(ready) == {"max-concurrent-downloads": 7}
    assert ready.run("ls -d /var/lib/docker") == "/var/lib/docker\n"
    assert "docker" not in ready.run("id -nG ops")
    assert play("docker_engine", docker_engine_state="absent").changed == 0
