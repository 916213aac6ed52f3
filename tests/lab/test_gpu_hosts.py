"""The roles docker_engine and nvidia_container_toolkit on a host of their own that starts bare, with a simulated GPU.

The tests run in this order on one host; each leaves it set up. test_gpu_versions.py has what needs no bare host.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from conftest import Box
from gpuhost import EXPIRED, MIRROR, TOOLKIT, Play, alone, options, player, started, user_sets

pytestmark = pytest.mark.lab

HOST = "gpu-1"
DRIVER = {
    "nvidia_container_toolkit_install_driver": True,
    "nvidia_container_toolkit_driver_packages": ["canaryctl-gpu-simulator"],
}


@pytest.fixture(scope="module")
def host() -> Iterator[Box]:
    """A bare lab host of these tests alone."""
    with alone(HOST) as made:
        yield made


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Runs roles on the host."""
    return player(HOST, tmp_path_factory.mktemp("gpu"))


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


def test_docker_is_not_restarted_under_the_containers_of_others(ready: Box, play: Play) -> None:
    ready.run("docker run -d --stop-signal KILL --name theirs canaryctl/base:trixie sleep infinity")
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
    # what takes it back restarts Docker, which the next test looks at


@pytest.fixture
def default_runtime(ready: Box, play: Play) -> None:
    """NVIDIA's runtime is Docker's default, as the test before leaves it."""
    if "default-runtime" not in options(ready):
        assert play(TOOLKIT, nvidia_container_toolkit_default_runtime=True).code == 0


@pytest.mark.usefixtures("default_runtime")
def test_containers_of_others_outlive_a_restart_under_live_restore(ready: Box, play: Play) -> None:
    was = options(ready)
    assert was.pop("default-runtime") == "nvidia"
    user_sets(ready, "live-restore", True)
    ready.run("systemctl reload docker && docker run -d --name theirs canaryctl/base:trixie sleep infinity")
    alive = "docker inspect -f '{{.State.Pid}} {{.State.StartedAt}} {{.State.Running}}' theirs"
    before, running = started(ready), ready.run(alive)
    try:
        done = play(TOOLKIT)
        assert done.code == 0, done.text[-4000:]
        assert "live-restore is on: the running containers (1) stay up while Docker restarts" in done.message
        assert options(ready) == was | {"live-restore": True}
        assert started(ready) != before
        assert ready.run(alive) == running
    finally:
        ready.run("docker rm -f theirs")
        ready.run(f"cat >/etc/docker/daemon.json <<'E'\n{json.dumps(was)}\nE\nsystemctl reload docker")


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
