"""A host on which an audit finds nothing, and what to change of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from canaryctl.agent.read.installed import rendering_suffix
from canaryctl.audit.model import HostConfig
from canaryctl.config.stack import Mount
from canaryctl.facts.host import HostFacts, parse
from canaryctl.plan.release import sha256

COMPOSE = b"services: {web: {}}\n"
ASSET = b"strategy\n"
HASHES = {"compose.yml": sha256(COMPOSE), "assets/data/a.csv": sha256(ASSET)}
ID = "1" * 64
DIRECTORY = f"{ID}-{rendering_suffix('prod', HASHES)}"
TAG = "canaryctl/shop/web:sha256-aaaaaaaaaaaa"
IMAGE = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
ANY = "0.0.0.0"  # noqa: S104  compared with, not bound
OLDER = f"/opt/canaryctl/shop/releases/{'9' * 64}-00000000/compose.yml"
GPU = {"index": 0, "name": "A100", "uuid": "GPU-1", "memory": 1, "driver": "550.54.15"}
GPU_HOST: dict[str, Any] = {
    "state": "ok",
    "driver": "550.54.15",
    "toolkit": "/usr/bin/nvidia-ctk",
    "pci": [{"address": "0000:01"}],
}
MOUNT = Mount.model_validate({"path": "/mnt/m", "fstype": "nfs4", "sentinel": ".mounted", "min_free": "1GB"})
MINE = HostConfig(
    name="one",
    groups=("servers",),
    variables={"ansible_user": "ops"},
    stack="shop",
    project="shop-prod",
    root="/opt/canaryctl",
    services=("web",),
    ports=(("192.0.2.1", 8080, "web"),),
    files={"compose.yml": COMPOSE, "assets/data/a.csv": ASSET, "release.json": b"{}"},
    directory=DIRECTORY,
)
WITH_MOUNT = replace(MINE, mounts=(MOUNT,))
WITH_GPU = replace(MINE, gpu_services=("web",))


def container(**changes: Any) -> dict[str, Any]:
    return {
        "name": "shop-prod-web-1",
        "image": TAG,
        "image_id": IMAGE,
        "state": "running",
        "health": "healthy",
        "started": 1000.0,
        "project": "shop-prod",
        "service": "web",
        "ports": [{"address": "192.0.2.1", "port": 8080, "container_port": 80}],
        "config_files": f"/opt/canaryctl/shop/releases/{DIRECTORY}/compose.yml",
        **changes,
    }


def release(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "stack": "shop",
        "environment": "prod",
        "placed": ["web"],
        "services": {"web": "web"},
        "images": {"web": {"id": IMAGE, "tag": TAG}},
        "files": {"data/a.csv": sha256(ASSET), "templates/compose.yml.j2": "x"},
        **changes,
    }


def deployed(files: Mapping[str, str] = HASHES, **changes: Any) -> dict[str, Any]:
    known = {"release": release(**changes), "files": {**files, "release.json": "r"}}
    return {"state": {"current": DIRECTORY, "releases": {DIRECTORY: known}, **locked(expired=False)["state"]}}


def locked(*, expired: bool) -> dict[str, Any]:
    lock = {"holder": "me@laptop", "renewed": 1300.0 if expired else 1990.0, "ttl": 600, "expired": expired}
    return {"state": {"lock": lock}}


def unconfirmed(phase: str) -> dict[str, Any]:
    change = {"id": "run-1", "run": "run-1", "to": {"release": DIRECTORY}, "confirm": 60.0, "phase": phase}
    return {"state": {**deployed()["state"], "change": change, "lock": None}}


def audited(**changes: Any) -> dict[str, Any]:
    return {"audit": {**CLEAN["audit"], **changes}}


CLEAN: dict[str, Any] = {
    "time": 2000.0,
    "user": "ops",
    "become": "sudo",
    "os": {"id": "debian", "version_id": "13", "pretty": "Debian GNU/Linux 13 (trixie)"},
    "python": "3.13.5",
    "docker": {"running": True, "version": "26.1.5", "root": "/var/lib/docker", "cgroup_driver": "systemd"},
    "compose": {"version": "2.26.1"},
    "disks": {"/": {"total": 10**11, "free": 10**10 * 6, "inodes": 10**6, "inodes_free": 10**6}},
    "images": [{"id": IMAGE, "tags": [TAG]}],
    "containers": [container()],
    "ports": [{"address": "192.0.2.1", "port": 8080, "pid": 7, "process": "docker-proxy"}],
    "mounts": [{"path": "/mnt/m", "point": "/mnt/m", "fstype": "nfs4", "sentinel": True, "free": 10**10}],
    "audit": {
        "sshd": {"passwordauthentication": "no", "permitrootlogin": "no"},
        "daemon": {"path": "/etc/docker/daemon.json", "keys": ["log-driver"], "flags": ["H", "containerd"]},
        "reboot": None,
        "compose": COMPOSE.decode(),
    },
    **deployed(),
}


def gpu(**changes: Any) -> dict[str, Any]:
    return {"gpus": [GPU], "gpu": {**GPU_HOST, **changes}}


WITH_RUNTIME = {**gpu(), "docker": {**CLEAN["docker"], "runtimes": ["nvidia", "runc"]}}


def facts(changes: Mapping[str, Any]) -> HostFacts:
    document = {**CLEAN, **changes}
    return parse("one", document, clock_skew=document.pop("skew", 0))
