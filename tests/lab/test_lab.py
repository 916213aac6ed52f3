"""A lab from nothing to nothing, as an operator sees it. It has a state directory and a name of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from canaryctl import lab
from canaryctl.errors import ConfigError, HostError
from canaryctl.lab import faults
from canaryctl.lab.docker import docker, exists
from canaryctl.lab.hosts import wait_for_ssh
from canaryctl.lab.state import Lab, LabHost

pytestmark = pytest.mark.lab

NAME = "labtest"
HOST = "box-1"
MADE = f"canaryctl-{NAME}-{HOST}"
CTL = [str(Path(sys.executable).with_name("canaryctl")), "lab"]


@pytest.fixture(scope="module", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory of this module's own; the lab in it is gone afterwards, whatever happened."""
    home = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        _sweep()
        yield home
        _sweep()


def _sweep() -> None:
    for kind, remove in (("container", ["rm", "-fv"]), ("network", ["network", "rm"])):
        for found in docker(
            kind, "ls", "-q", *(["-a"] if kind == "container" else []), "-f", f"label=canaryctl.lab={NAME}"
        ).split():
            docker(*remove, found)


def ctl(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CTL, *argv], input=stdin, capture_output=True, text=True, timeout=120)


def login(command: str) -> int:
    made = lab.require(NAME)
    return subprocess.run(
        lab.ssh_argv(made, HOST, command, batch=True), stdin=subprocess.DEVNULL, timeout=60
    ).returncode


def volumes() -> set[str]:
    return set(docker("volume", "ls", "-q").split())


def test_up_makes_a_server(state_home: Path) -> None:
    made = lab.up(NAME, [HOST], {"canary": ["DB_PASSWORD"]})
    assert (
        login("test $(whoami) = ops && test $(sudo id -u) = 0 && systemctl is-active -q ssh && ! command -v docker")
        == 0
    )
    assert login(f"grep -q {HOST} /etc/canaryctl-lab && test $(hostname) = {HOST}") == 0
    assert docker("ps", "-q", "-f", f"label=canaryctl.lab={NAME}", "-f", f"label=canaryctl.host={HOST}")
    assert (made.directory / "secrets/canary/DB_PASSWORD").stat().st_mode & 0o777 == 0o600
    assert str(made.directory).startswith(str(state_home))


def test_up_again_changes_nothing() -> None:
    before = lab.require(NAME)
    box = docker("container", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", before.hosts[HOST].container)
    pinned, secret = before.known_hosts.read_text(), before.directory / "secrets/canary/DB_PASSWORD"
    value = secret.read_text()
    assert lab.up(NAME, [HOST], {"canary": ["DB_PASSWORD"]}) == before
    assert docker("container", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", before.hosts[HOST].container) == box
    assert (before.known_hosts.read_text(), secret.read_text()) == (pinned, value)


def test_status_says_where_it_is_and_that_it_answers() -> None:
    shown = ctl("status", "--name", NAME, "--output", "json")
    host = json.loads(shown.stdout)["hosts"][HOST]
    assert (host["state"], host["ssh"]) == ("running", True)
    assert f"127.0.0.1:{host['port']}" in ctl("status", "--name", NAME).stdout


def test_ssh_passes_command_input_and_exit_code_through() -> None:
    done = ctl("ssh", HOST, "--name", NAME, "--", 'cat; echo "$0 it\'s" >&2; exit 7', stdin="hello\n")
    assert (done.returncode, done.stdout) == (7, "hello\n")
    assert "it's" in done.stderr


def test_ssh_to_no_such_host_names_those_there_are() -> None:
    done = ctl("ssh", "nowhere", "--name", NAME, "--", "true")
    assert done.returncode == 2
    assert HOST in done.stderr + done.stdout


def test_a_stopped_host_comes_back_the_same() -> None:
    before = lab.require(NAME)
    pinned = before.known_hosts.read_text()
    docker("stop", "-t", "5", before.hosts[HOST].container)
    assert lab.status(NAME)["hosts"][HOST]["ssh"] is False
    assert lab.up(NAME, [HOST]) == before
    assert before.known_hosts.read_text() == pinned
    assert login("true") == 0


def test_a_host_whose_sshd_was_stopped_comes_back() -> None:
    container = lab.require(NAME).hosts[HOST].container
    docker("exec", container, "systemctl", "stop", "ssh.socket", "ssh.service")
    lab.up(NAME, [HOST])
    assert login("true") == 0


def inside(script: str) -> str:
    argv = ["docker", "exec", lab.require(NAME).hosts[HOST].container, "sh", "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout.strip()


FAULTS = {
    "link-cut": lambda: inside("cat /sys/class/net/eth0/carrier") == "0",
    "link-slow": lambda: inside("tc qdisc show | grep -c tbf") == "2",
    "host-killed": lambda: lab.status(NAME)["hosts"][HOST]["state"] == "exited",
    "disk-full": lambda: inside("dd if=/dev/zero of=/opt/canaryctl/new bs=4k count=1 || echo full") == "full",
    "inodes-gone": lambda: inside("touch /opt/canaryctl/newer || echo full") == "full",
    "memory-pressure": lambda: 0 < int(docker("inspect", "-f", "{{.HostConfig.Memory}}", MADE)) < 1 << 39,
    "clock-skewed": lambda: float(inside("python3 -c 'import time; print(time.time())'") or 0) > time.time() + 3000,
    "sshd-refusing": lambda: login("true") != 0,
    "apt-locked": lambda: inside("apt-get clean || echo locked") == "locked",
    "read-only-opt": lambda: inside("touch /opt/new || echo read-only") == "read-only",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_there_and_then_they_are_not(fault: str) -> None:
    """Those of a host without Docker."""
    running = faults.begin(lab.require(NAME), fault, HOST, 60)
    try:
        assert FAULTS[fault]()
    finally:
        running.end()
    assert not FAULTS[fault]()
    assert login("true") == 0


def test_a_fault_that_a_host_cannot_have_says_so_and_leaves_nothing() -> None:
    done = ctl("fault", "dockerd-stopped", HOST, "--name", NAME)
    assert done.returncode == 3 and HOST in done.stderr and "docker.service" in done.stderr, done.stderr
    assert login("true") == 0


def test_a_fault_is_undone_on_ctrl_c() -> None:
    running = subprocess.Popen(
        [*CTL, "fault", "sshd-refusing", HOST, "--name", NAME],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout and HOST in running.stdout.readline()
    assert login("true") != 0
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=30) == 130
    assert login("true") == 0


def test_a_host_whose_container_is_gone_is_made_anew_and_pinned_again() -> None:
    before = lab.require(NAME)
    pinned = before.known_hosts.read_text()
    docker("rm", "-fv", before.hosts[HOST].container)
    assert lab.up(NAME, [HOST]) == before
    assert before.known_hosts.read_text() != pinned
    assert login("true") == 0


def test_another_state_directory_does_not_take_the_lab_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for command in (lambda: lab.up(NAME, [HOST]), lambda: lab.down(NAME)):
        with pytest.raises(ConfigError, match="belongs to another state directory"):
            command()


def test_down_leaves_no_container_volume_or_network_but_keeps_the_secrets() -> None:
    made = lab.require(NAME)
    mounts = docker("container", "inspect", "-f", "{{range .Mounts}}{{.Name}} {{end}}", made.hosts[HOST].container)
    assert lab.down(NAME) == [HOST]
    assert not exists("container", made.hosts[HOST].container)
    assert not exists("network", made.network)
    assert not set(mounts.split()) & volumes()
    assert (made.directory / "secrets/canary/DB_PASSWORD").exists()
    with pytest.raises(ConfigError, match="is not up"):
        lab.require(NAME)


@pytest.mark.parametrize("after", [0.3, 0.8, 1.5, 2.5])
def test_an_up_killed_half_way_is_finished_by_the_next(after: float) -> None:
    code = f"from canaryctl import lab; lab.up({NAME!r}, [{HOST!r}])"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    time.sleep(after)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    lab.up(NAME, [HOST])
    assert login("true") == 0
    lab.down(NAME)


def test_purge_forgets_key_and_secrets() -> None:
    lab.up(NAME, [HOST])
    directory = lab.require(NAME).directory
    lab.down(NAME, purge=True)
    assert not directory.exists()
    assert lab.down(NAME, purge=True) == []


def test_a_host_that_ends_at_once_is_not_waited_for() -> None:
    """As its systemd does where the kernel has no inotify instance left."""
    gone = f"{MADE}-ended"
    docker("run", "--detach", "--name", gone, "--label", f"canaryctl.lab={NAME}", lab.base_image(print), "false")
    docker("wait", gone)
    made = Lab(NAME, "10.0.0.0/24", {HOST: LabHost("10.0.0.2", 1, gone)})
    began = time.monotonic()
    with pytest.raises(HostError, match=r"ended right after it was started \(exited 1\)") as caught:
        wait_for_ssh(made, HOST)
    assert "inotify" in caught.value.hint and time.monotonic() - began < 20
