"""The control machine's Docker, through its command line."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from canaryctl.errors import ConfigError
from canaryctl.lab import state

Say = Callable[[str], None]

_INSTALL = "Debian/Ubuntu, as root: apt-get install docker.io; then run this again"
_PIDFILES = {"dockerd": Path("/var/run/docker.pid"), "containerd": Path("/var/run/docker/containerd/containerd.pid")}


def docker(*argv: str, stdin: str | bytes | None = None, check: bool = True, buildkit: bool | None = None) -> str:
    """Run `docker ARGV` and return its standard output, stripped.

    Raises:
        ConfigError: it failed (unless `check` is false: then the output so far is returned) or Docker is not installed.
    """
    env = None if buildkit is None else {**os.environ, "DOCKER_BUILDKIT": str(int(buildkit))}
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(
            ["docker", *argv],
            input=data,
            stdin=None if data is not None else subprocess.DEVNULL,
            capture_output=True,
            env=env,
        )
    except FileNotFoundError:
        raise ConfigError("Docker is not installed on this machine", "docker", _INSTALL) from None
    if check and done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
        raise ConfigError(f"docker {' '.join(argv[:2])} failed: {said[-2000:]}", "docker")
    return done.stdout.decode(errors="replace").strip()


def exists(kind: str, name: str) -> bool:
    """Whether Docker has the object `name` of `kind` (image, container, network, volume)."""
    done = subprocess.run(["docker", kind, "inspect", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode == 0


def answers() -> bool:
    """Whether a Docker daemon answers."""
    try:
        done = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True)
    except FileNotFoundError:
        raise ConfigError("Docker is not installed on this machine", "docker", _INSTALL) from None
    return done.returncode == 0


def ensure_daemon(say: Say) -> None:
    """Start Docker where none answers: through systemd where that runs the machine, else in a session of its own.

    Raises:
        ConfigError: Docker is missing, may not be started by this user, or does not come up.
    """
    if answers():
        return
    if Path("/run/systemd/system").is_dir():
        say("starting Docker (systemctl start docker)")
        subprocess.run(["systemctl", "start", "docker"], stdin=subprocess.DEVNULL)
        _wait_for_daemon("journalctl -u docker")
        return
    if os.geteuid() != 0:
        raise ConfigError(
            "no Docker daemon answers", "docker", "start it as root, or join the docker group and log in again"
        )
    with state.locked("dockerd", say):
        if answers():
            return
        log = state.root() / "dockerd.log"
        say(f"starting Docker (log: {log})")
        _wait_for_daemon(str(log), _start_daemon(log))


def _start_daemon(log: Path) -> subprocess.Popen[bytes]:
    dockerd = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if dockerd is None:
        raise ConfigError("dockerd is not installed on this machine", "docker", _INSTALL)
    # After a kill or a reboot the old pid may be some other process's: dockerd would then refuse to start.
    for program, file in _PIDFILES.items():
        if file.exists() and not runs(file, program):
            file.unlink(missing_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            [dockerd], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/"
        )


def runs(pidfile: Path, program: str) -> bool:
    """Whether the process a pid file names is alive and is `program`; a dead one that nobody reaped is not alive."""
    with contextlib.suppress(OSError, ValueError):
        status = Path(f"/proc/{int(pidfile.read_text())}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return lines["Name"].strip() == program and not lines["State"].strip().startswith("Z")
    return False


def _wait_for_daemon(log: str, daemon: subprocess.Popen[bytes] | None = None, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not answers():
        if daemon is not None and daemon.poll() is not None:
            raise ConfigError(f"dockerd ended at once with code {daemon.returncode}", "docker", f"see {log}")
        if time.monotonic() > deadline:
            raise ConfigError(f"Docker did not come up within {seconds:.0f} s", "docker", f"see {log}")
        time.sleep(0.3)


def has_buildx() -> bool:
    """Whether this Docker builds through BuildKit (buildx present)."""
    return subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode == 0


def subnets() -> Iterator[str]:
    """The subnets of all Docker networks, CIDR."""
    ids = docker("network", "ls", "-q").split()
    if ids:
        yield from docker("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", *ids).split()
