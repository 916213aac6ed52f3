"""The toolkit's versions, faults and options on a host of their own that has Docker, the toolkit and a simulated GPU.

The tests run in this order on one host; each leaves it set up. What a fault is planted with is taken away again.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Box
from gpuhost import EXPIRED, LAB, MIRROR, TOOLKIT, Play, alone, options, player, started

from canaryctl import lab as labs

pytestmark = pytest.mark.lab

HOST = "canary-1"  # a lab's canary-1 has the driver
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
SOURCES = "/etc/apt/sources.list.d/nvidia-container-toolkit.sources"
KEEP, KEPT = f"cp {SOURCES} /run/sources", f"cmp {SOURCES} /run/sources"
LOCKER = """import fcntl, pathlib, time
held = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(held, fcntl.LOCK_EX)
pathlib.Path("/run/locked").touch()
time.sleep(60)
"""


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Runs roles on the host."""
    return player(HOST, tmp_path_factory.mktemp("gpu"))


@pytest.fixture(scope="module")
def ready(play: Play) -> Iterator[Box]:
    """The host with the toolkit."""
    with alone(HOST, "--with-docker") as made:
        done = play(TOOLKIT)
        assert done.code == 0, done.text[-4000:]
        yield made


def test_more_gpus_refresh_the_cdi_specification_alone(ready: Box, play: Play) -> None:
    before = started(ready)
    ready.run("canaryctl-gpu-simulator set healthy 2")
    assert play(TOOLKIT).changed == 1
    assert "nvidia.com/gpu=1\n" in ready.run("nvidia-ctk cdi list 2>/dev/null")
    assert started(ready) == before


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
