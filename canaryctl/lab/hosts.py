"""One lab host: a systemd container that behaves as a server."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterable, Mapping

from canaryctl.errors import ConfigError, HostError
from canaryctl.lab import state
from canaryctl.lab.docker import docker
from canaryctl.lab.state import Lab

USER = "ops"
_BOOT_SECONDS = 120
_ENDED = "{{.State.Status}} {{.State.ExitCode}}"
_MANY = (
    "docker logs {}; where it says nothing and many lab hosts are up, the kernel has no inotify instance left for "
    "their systemd: end labs (canaryctl lab down), or raise fs.inotify.max_user_instances"
)
# As an audit wants a server to be.
_LOGINS = "etc/ssh/sshd_config.d/logins.conf"
_BY_KEY = "PasswordAuthentication no\nPermitRootLogin no\n"

# What systemd and an inner Docker need. Where a machine lacks SYS_RESOURCE, older Dockers fail to give it with ALL, and
# newer ones, whose ALL leaves it out, fail to drop it.
_CAPABILITIES = ("--cap-add", "ALL")
_UNLESS_LACKING = ("--cap-drop", "SYS_RESOURCE")
_AS_SERVER = (
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec", "--env", "container=docker"),  # noqa: S108
    # overlay on overlay does not work: the inner Docker gets a real file system, of its own, gone with the host
    *("--volume", "/var/lib/docker"),
)
_CGROUPS = {
    "1": (
        *("--env", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "--cgroupns", "host"),
        *("--volume", "/sys/fs/cgroup:/sys/fs/cgroup"),
    ),
    "2": ("--cgroupns", "private"),
}


def create(lab: Lab, host: str, image: str, public_key: str, cgroup_version: str) -> None:
    """Create and start a host's container. A host that is only created, never started, is half-made."""
    where = lab.hosts[host]
    options = (
        *("--name", where.container, "--hostname", host, "--restart", "no"),
        *("--label", f"canaryctl.lab={lab.name}", "--label", f"canaryctl.host={host}"),
        *("--label", f"canaryctl.state={lab.directory}"),
        *("--network", lab.network, "--ip", where.address, "--network-alias", host),
        *("--publish", f"127.0.0.1:{where.port}:22"),
        *_AS_SERVER,
        *_CGROUPS.get(cgroup_version, _CGROUPS["2"]),
    )
    try:
        docker("create", *_CAPABILITIES, *_UNLESS_LACKING, *options, image)
    except ConfigError as refused:
        if "SYS_RESOURCE" not in refused.what:
            raise
        docker("create", *_CAPABILITIES, *options, image)
    admit(lab, host, public_key)
    docker("start", where.container)


def admit(lab: Lab, host: str, public_key: str) -> None:
    """Put the lab's key and the marker that says what this host is into its container."""
    marker = json.dumps({"lab": lab.name, "host": host}) + "\n"
    files = {f"home/{USER}/.ssh/authorized_keys": f"{public_key}\n", "etc/canaryctl-lab": marker, _LOGINS: _BY_KEY}
    docker("cp", "-", f"{lab.hosts[host].container}:/", stdin=archive(files))


def keys_alone(container: str) -> None:
    """Let users log in by key alone on a running host that an earlier version made; returns when sshd is back."""
    script = f"test -e /{_LOGINS} || {{ printf '{_BY_KEY}' >/{_LOGINS}; systemctl restart ssh.service; }}"
    docker("exec", container, "sh", "-c", script)


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """A tar of files, owned by root, readable by all (sshd accepts root's authorized_keys)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, given in files.items():
            content = given.encode() if isinstance(given, str) else given
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o644, int(time.time())
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def wait_for_ssh(lab: Lab, host: str) -> None:
    """Wait until the host's sshd speaks.

    Raises:
        HostError: it does not within two minutes, or the host ended at once.
    """
    where = lab.hosts[host]
    deadline = time.monotonic() + _BOOT_SECONDS
    while not speaks_ssh(where.port):
        if (ended := docker("inspect", "--format", _ENDED, where.container)) != "running 0":
            raise HostError(
                f"the lab host ended right after it was started ({ended})", host, _MANY.format(where.container)
            )
        if time.monotonic() > deadline:
            hint = f"docker exec {where.container} journalctl -b"
            raise HostError(f"the lab host's SSH did not come up within {_BOOT_SECONDS} s", host, hint)
        time.sleep(0.2)


def speaks_ssh(port: int) -> bool:
    """Whether an SSH server greets on 127.0.0.1:`port` (Docker's proxy accepts connections even for a dead one)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as peer:
            return peer.recv(4) == b"SSH-"
    except OSError:
        return False


def host_keys(lab: Lab, host: str) -> list[str]:
    """The host's known_hosts lines, read inside its container: no trust on first use."""
    where = lab.hosts[host]
    keys = docker("exec", where.container, "sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").splitlines()
    return [f"[127.0.0.1]:{where.port} {' '.join(key.split()[:2])}" for key in keys]


def pin(lab: Lab, lines: Iterable[str]) -> None:
    """Write the lab's known_hosts: `lines` replace what was pinned for their ports, the rest stays."""
    fresh = list(lines)
    mine = {line.split()[0] for line in fresh}
    old = lab.known_hosts.read_text().splitlines() if lab.known_hosts.exists() else []
    wanted = {f"[127.0.0.1]:{where.port}" for where in lab.hosts.values()}
    kept = [line for line in old if line.split()[:1] and line.split()[0] in wanted - mine]
    text = "\n".join(sorted([*kept, *fresh])) + "\n"
    state.write(lab.known_hosts, text)


def ssh_argv(lab: Lab, host: str, *command: str, batch: bool = False) -> list[str]:
    """The `ssh` command line to a lab host; `command` goes to the remote shell as ssh hands it over.

    Raises:
        ConfigError: the lab has no such host.
    """
    if host not in lab.hosts:
        known = ", ".join(lab.hosts) or "none"
        raise ConfigError(
            f"the lab {lab.name!r} has no host {host!r} (it has: {known})", hint=f"canaryctl lab up --hosts {host}"
        )
    options = {
        "UserKnownHostsFile": str(lab.known_hosts),
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        **({"BatchMode": "yes", "ConnectTimeout": "5"} if batch else {}),
    }
    argv = ["ssh", "-i", str(lab.key), "-p", str(lab.hosts[host].port)]
    for option, value in options.items():
        argv += ["-o", f"{option}={value}"]
    return [*argv, f"{USER}@127.0.0.1", *(("--", *command) if command else ())]


def answers(lab: Lab, host: str) -> bool:
    """Whether a login with the lab's key and pinned host keys works."""
    if not lab.key.exists() or not lab.known_hosts.exists():
        return False
    argv = ssh_argv(lab, host, "true", batch=True)
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
