"""What the operator's machine has, and what it lacks."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

_DISK_NEEDED = 10 * 10**9
_ADMIN_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Check:
    """One thing looked at. `missing` stops canaryctl's main job; `warning` stops only what `todo` names."""

    name: str
    status: Literal["ok", "warning", "missing"]
    found: str
    todo: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def check_machine() -> list[Check]:
    """Look at this machine; changes nothing."""
    return [*_python(), *_tools(), *_docker(), *_lab()]


def _python() -> Iterator[Check]:
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield Check("python", "ok" if fits else "missing", version, "" if fits else "use Python 3.11, 3.12 or 3.13")
    try:
        lacking = lacking_packages(metadata.requires("canaryctl") or [])
    except metadata.PackageNotFoundError:
        lacking = ["canaryctl"]
    found = "all installed" if not lacking else f"not installed: {', '.join(lacking)}"
    todo = "" if not lacking else "make setup; or: pip install canaryctl"
    yield Check("python packages", "missing" if lacking else "ok", found, todo)


def lacking_packages(requirements: list[str]) -> list[str]:
    """Names of the requirements (PEP 508 lines; those of extras are left out) that are not installed."""
    lacking = []
    for line in requirements:
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        if "extra ==" in line:
            continue
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            lacking.append(name)
    return lacking


def _tools() -> Iterator[Check]:
    beside_python = f"{Path(sys.executable).parent}:{_ADMIN_PATH}"
    yield _tool("ansible-playbook", "make setup; or: pip install canaryctl", path=beside_python)
    yield _tool("ssh", "Debian/Ubuntu, as root: apt-get install openssh-client")
    yield _tool("ssh-keygen", "Debian/Ubuntu, as root: apt-get install openssh-client")


def _tool(name: str, todo: str, *, path: str = _ADMIN_PATH, absent: Literal["warning", "missing"] = "missing") -> Check:
    found = shutil.which(name, path=path)
    return Check(name, "ok", found) if found else Check(name, absent, "not found", todo)


def _docker() -> Iterator[Check]:
    cli = _tool("docker", "Debian/Ubuntu, as root: apt-get install docker.io")
    yield cli
    if cli.status != "ok":
        return
    asked = subprocess.run(["docker", "info", "--format", "{{json .}}"], capture_output=True, text=True)
    info = docker_info(asked.stdout)
    if info is None:
        reason = asked.stderr.strip().splitlines()[-1:] or ["no answer"]
        todo = "start it (systemctl start docker; `canaryctl lab up` does it as root), or join the docker group"
        yield Check("docker daemon", "missing", reason[0], todo)
        return
    yield Check("docker daemon", "ok", describe_daemon(info))
    buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode == 0
    yield Check("image builder", "ok", "BuildKit (buildx)" if buildx else "classic builder (no buildx)")
    yield _disk(str(info.get("DockerRootDir") or "/"))


def docker_info(text: str) -> dict[str, Any] | None:
    """Docker's answer to `info`, or None where no daemon stands behind it."""
    try:
        info = json.loads(text)
    except ValueError:
        return None
    return info if isinstance(info, dict) and info.get("ServerVersion") else None


def describe_daemon(info: dict[str, Any]) -> str:
    """Version, image store and cgroups in one line."""
    containerd = any(
        "io.containerd.snapshotter" in str(value) for pair in info.get("DriverStatus") or [] for value in pair
    )
    store = "containerd store" if containerd else "classic store"
    return f"{info['ServerVersion']}, {info.get('Driver')}, {store}, cgroup v{info.get('CgroupVersion', '1')}"


def _disk(docker_root: str) -> Check:
    # Docker's directory may be on another machine or readable by root alone: then its nearest visible parent
    folder = next((p for p in (Path(docker_root), *Path(docker_root).parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(folder).free
    found = f"{free / 10**9:.0f} GB free at {folder}"
    if free >= _DISK_NEEDED:
        return Check("disk", "ok", found)
    return Check("disk", "warning", found, f"images and labs want {_DISK_NEEDED // 10**9} GB: docker system df")


def _lab() -> Iterator[Check]:
    for_lab = "only for the lab"
    image = os.environ.get("BASE_IMAGE")
    if image:
        yield Check("base image", "ok", f"BASE_IMAGE={image}")
    else:
        todo = f"{for_lab}: apt-get install debootstrap, or set BASE_IMAGE=debian:trixie-slim"
        yield _tool("debootstrap", todo, absent="warning")
    yield _tool("ip", f"{for_lab}: apt-get install iproute2", absent="warning")
