"""The observation: one JSON document about the host, each section on its own feet."""

from __future__ import annotations

import datetime
import json
import os
import pwd
import socket
import sys
import time
from typing import Any, Callable

from canaryctl.agent.read.docker import Docker, open_docker, ours
from canaryctl.agent.read.gpu import about_gpus, start_gpu_programs
from canaryctl.agent.read.mounts import about_mounts, start_mounts
from canaryctl.agent.read.processes import Program, find_program
from canaryctl.agent.read.state import about_state
from canaryctl.agent.read.system import (
    ARCHITECTURES,
    about_cpu,
    about_disk,
    about_memory,
    about_os,
    about_ports,
    python_version,
)

COMPOSE_PLACES = ":".join(
    [
        os.path.expanduser("~/.docker/cli-plugins"),
        "/usr/local/lib/docker/cli-plugins",
        "/usr/local/libexec/docker/cli-plugins",
        "/usr/lib/docker/cli-plugins",
        "/usr/libexec/docker/cli-plugins",
    ]
)


def observe_host(config: dict[str, Any], become: str, reason: str) -> dict[str, Any]:
    """Everything about the host; what cannot be read is named under `errors`."""
    errors: dict[str, str] = {}

    def section(name: str, find: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return find()
        except Exception as error:
            errors[name] = str(error) or type(error).__name__
            return otherwise

    # Programs first, so that they run while the rest is read.
    compose = section("compose", start_compose, None)
    asked = section("gpus", start_gpu_programs, {})
    mounts = section("mounts", lambda: start_mounts(config.get("mounts", [])), [])
    uname = os.uname()
    document: dict[str, Any] = {
        "agent": 1,
        "time": time.time(),
        "hostname": socket.gethostname(),
        "user": os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name,
        "uid": int(os.environ.get("SUDO_UID") or os.getuid()),
        "become": become,
        "become_reason": reason,
        "os": section("os", about_os, {"id": "", "version_id": "", "codename": "", "pretty": ""}),
        "kernel": uname.release,
        "arch": ARCHITECTURES.get(uname.machine, uname.machine),
        "python": python_version(),
        "cpu": section("cpu", about_cpu, {"count": 0, "model": ""}),
        "memory": section("memory", about_memory, {"total": 0, "available": 0}),
        "docker": None,
        "images": [],
        "containers": [],
        "volumes": [],
        "ports": section("ports", about_ports, []),
    }
    daemon = None
    try:
        daemon = open_docker()
        document["docker"] = about_docker(daemon) if daemon is not None else None
    except Exception as error:
        what = str(error) if daemon is None else f"it does not describe itself: {error}"
        silent = isinstance(error, socket.timeout) or getattr(error, "silent", False)
        daemon, document["docker"] = None, no_docker(what, silent=silent)
        errors["docker"] = what
    if daemon is not None:
        stack = config["stack"]
        document["images"] = section("images", lambda: about_images(daemon, stack), [])
        document["containers"] = section("containers", lambda: about_containers(daemon, stack), [])
        document["volumes"] = section("volumes", lambda: about_volumes(daemon), [])
    paths = ["/", (document["docker"] or {}).get("root") or "", config["root"]]
    document["disks"] = section("disks", lambda: {path: about_disk(path) for path in paths if path}, {})
    document["mounts"] = section("mounts", lambda: about_mounts(mounts), [])
    document["state"] = about_state(config, errors)
    document["compose"] = section("compose", lambda: compose and {"version": compose.answer(5).lstrip("v")}, None)
    document["gpus"], document["gpu"] = section("gpus", lambda: about_gpus(asked, errors), ([], {}))
    document["errors"] = errors
    return document


def start_compose() -> Program | None:
    # The plugin itself, not `docker compose`: half the time, and it needs no daemon.
    plugin = find_program("docker-compose", COMPOSE_PLACES)
    return Program(plugin, "version", "--short") if plugin else None


def no_docker(error: str, *, silent: bool = False) -> dict[str, Any]:
    return {
        "running": False,
        "version": "",
        "root": "",
        "storage_driver": "",
        "containerd_store": False,
        "cgroup_driver": "",
        "cgroup_version": "",
        "rootless": False,
        "runtimes": [],
        "cdi": False,
        "error": error,
        "silent": silent,
    }


def about_docker(daemon: Docker) -> dict[str, Any]:
    info = daemon.get("/info")
    return {
        "running": True,
        "version": info.get("ServerVersion", ""),
        "root": info.get("DockerRootDir", ""),
        "storage_driver": info.get("Driver", ""),
        "containerd_store": "io.containerd.snapshotter" in json.dumps(info.get("DriverStatus")),
        "cgroup_driver": info.get("CgroupDriver", ""),
        "cgroup_version": info.get("CgroupVersion", ""),
        "rootless": "rootless" in json.dumps(info.get("SecurityOptions")),
        "runtimes": sorted(info.get("Runtimes") or {}),
        "cdi": bool(info.get("CDISpecDirs")),
        "error": "",
        "silent": False,
    }


def about_images(daemon: Docker, stack: str) -> list[dict[str, Any]]:
    found = []
    for image in daemon.get("/images/json"):
        tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
        layers: list[str] = []
        if any(tag.startswith("canaryctl/" + stack + "/") for tag in tags):
            layers = (daemon.get("/images/" + image["Id"] + "/json").get("RootFS") or {}).get("Layers") or []
        found.append(
            {"id": image["Id"], "tags": tags, "layers": layers, "size": image["Size"], "created": image["Created"]}
        )
    return found


def about_containers(daemon: Docker, stack: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for entry in daemon.get("/containers/json?all=1"):
        hangs = any(container["silent"] for container in found)
        found.append(about_container(daemon, stack, entry, 1.0 if hangs else 10.0))
    return found


def about_container(daemon: Docker, stack: str, entry: dict[str, Any], patience: float) -> dict[str, Any]:
    """What Docker's list says, and of the stack's own more, where Docker says it within `patience` seconds.

    One that Docker cannot end holds up who asks about it: it is `silent`, and the host is none the less observed.
    """
    labels = entry.get("Labels") or {}
    project = labels.get("com.docker.compose.project", "")
    found = {
        "id": entry["Id"],
        "name": (entry.get("Names") or ["/"])[0].lstrip("/"),
        "image": entry.get("Image", ""),
        "image_id": entry.get("ImageID", ""),
        "state": entry.get("State", ""),
        "health": "",
        "exit_code": None,
        "restarts": 0,
        "oom_killed": False,
        "started": None,
        "project": project,
        "service": labels.get("com.docker.compose.service", ""),
        "oneoff": labels.get("com.docker.compose.oneoff") == "True",
        "ports": [
            {
                "address": port.get("IP", ""),
                "port": port["PublicPort"],
                "container_port": port["PrivatePort"],
                "protocol": port["Type"],
            }
            for port in entry.get("Ports") or []
            if port.get("PublicPort")
        ],
        "config_files": labels.get("com.docker.compose.project.config_files", ""),
        "silent": False,
    }
    if ours(project, stack):
        found["config_hash"] = labels.get("com.docker.compose.config-hash", "")
        try:
            detail = daemon.get("/containers/" + entry["Id"] + "/json", patience)
        except socket.timeout:
            return {**found, "silent": True}
        state = detail["State"]
        found.update(
            health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
            exit_code=state.get("ExitCode"),
            restarts=detail.get("RestartCount", 0),
            oom_killed=bool(state.get("OOMKilled")),
            restart=((detail.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "",
            stop_timeout=(detail.get("Config") or {}).get("StopTimeout"),
            started=epoch(state.get("StartedAt", "")),
            mounts=[about_mount(mount) for mount in detail.get("Mounts") or []],
        )
    return found


def about_mount(mount: dict[str, Any]) -> dict[str, Any]:
    """A container's mount; a volume's source is its name. As roles/stack_release/module_utils/started.py notes them."""
    return {
        "type": mount.get("Type", ""),
        "source": mount.get("Name") or mount.get("Source", ""),
        "destination": mount.get("Destination", ""),
        "rw": bool(mount.get("RW")),
    }


def about_volumes(daemon: Docker) -> list[dict[str, Any]]:
    return [
        {
            "name": volume["Name"],
            "created": epoch(volume.get("CreatedAt", "")),
            "project": (volume.get("Labels") or {}).get("com.docker.compose.project", ""),
        }
        for volume in daemon.get("/volumes").get("Volumes") or []
    ]


def epoch(text: str) -> float | None:
    """RFC 3339 -> seconds; None for Docker's zero time. Python 3.7 reads neither `Z` nor nanoseconds."""
    if len(text) < 20 or text.startswith("0001"):
        return None
    zone = text[19:].lstrip(".0123456789").replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(text[:19] + zone).timestamp()


def answer_facts(config: dict[str, Any]) -> None:
    """The facts as one line of JSON: see facts/host.py, `parse`."""
    sys.stdout.write("\n" + json.dumps(observe_host(config, sys.argv[1], sys.argv[2])) + "\n")
