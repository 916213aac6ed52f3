"""A service's GPUs from the host's side, at one moment: readings, whose processes compute, errors in the kernel log."""

from __future__ import annotations

import datetime
import json
import os
import re
import sys
from typing import Any

from canaryctl.agent.read.docker import Docker, DockerError, open_docker, quoted_filter
from canaryctl.agent.read.gpu import about_gpus, start_gpu_programs
from canaryctl.agent.read.processes import Program, find_program
from canaryctl.agent.read.system import read_text

SIMULATED_LOG = "/var/log/canaryctl-gpu-simulator/kernel.log"
LOG_DEADLINE = 8.0  # seconds
XID = re.compile(r"NVRM: Xid \((?:PCI:)?([^)]+)\): (\d{1,9}), (.*)")


def answer_gpu(config: dict[str, Any]) -> None:
    """The answer to {"project", "service", "log"}; with `log` the kernel log is read as well."""
    document: dict[str, Any] = {"agent": 1, "errors": {}, "containers": [], "cgroup_driver": ""}
    document.update(xids=[], kernel_log="")
    asked = start_gpu_programs()
    since = None
    try:
        daemon = open_docker()
        if daemon is not None:
            document["cgroup_driver"] = daemon.get("/info").get("CgroupDriver", "")
            document["containers"], since = containers_of(daemon, config["project"], config["service"])
    except (DockerError, OSError, ValueError) as error:
        document["errors"]["docker"] = str(error)
    document["gpus"], document["gpu"] = about_gpus(asked, document["errors"])
    if config.get("log"):
        source, text = kernel_log(bool(document["gpu"]["simulated"]), since or 0.0)
        document["kernel_log"] = source
        document["xids"] = parse_xids(text, since or 0.0, boot_time())
    sys.stdout.write("\n" + json.dumps(document) + "\n")


def containers_of(daemon: Docker, project: str, service: str) -> tuple[list[str], float | None]:
    """Ids of a service's running containers, and when the first of them was made, by this host's clock."""
    labels = ["com.docker.compose.project=" + project, "com.docker.compose.service=" + service]
    found = daemon.get("/containers/json?filters=" + quoted_filter(label=labels))
    times = [float(entry["Created"]) for entry in found if entry.get("Created")]
    return [entry["Id"] for entry in found], min(times) if times else None


def kernel_log(simulated: bool, since: float) -> tuple[str, str]:
    """Where the log was read and what it holds; an empty text and why, where it cannot be read."""
    if simulated:  # a lab host shares the kernel of the machine it is on, and that machine's log is not its own
        return "simulated", read_text(SIMULATED_LOG) if os.path.exists(SIMULATED_LOG) else ""
    complaints, empty = [], ""
    for argv in (("journalctl", "-k", "-q", "--no-pager", "-o", "short-iso", f"--since=@{int(since)}"), ("dmesg",)):
        program = find_program(argv[0])
        if not program:
            continue
        code, output = Program(program, *argv[1:]).finish(LOG_DEADLINE)
        if code == 0 and output:
            return argv[0], output
        if code == 0:  # nothing since then, or a journal that the kernel's lines do not reach
            empty = argv[0]
            continue
        complaints.append(argv[0] + ": " + (output[-200:] or "no answer"))
    if empty:
        return empty, ""
    return "unreadable: " + ("; ".join(complaints) or "neither journalctl nor dmesg is there"), ""


def parse_xids(text: str, since: float, boot: float) -> list[dict[str, Any]]:
    """Xid errors at or after an epoch. Lines carry a time with a zone, or seconds since the boot."""
    found = []
    for line in text.splitlines():
        match = XID.search(line)
        if not match:
            continue
        at = time_of(line, boot)
        if at is None or at >= since - 1:
            address, number, words = match.groups()
            found.append({"time": at, "device": address, "number": int(number), "text": words.strip()[:200]})
    return found


def time_of(line: str, boot: float) -> float | None:
    stamp = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,]\d+)?(Z|[+-]\d\d:?\d\d)", line)
    if stamp:
        zone = stamp.group(2).replace("Z", "+00:00")
        zone = zone if ":" in zone else zone[:3] + ":" + zone[3:]
        return datetime.datetime.fromisoformat(stamp.group(1) + zone).timestamp()
    since_boot = re.match(r"(?:<\d+>)?\[\s*(\d+\.\d+)\]", line)
    return boot + float(since_boot.group(1)) if since_boot else None


def boot_time() -> float:
    match = re.search(r"^btime (\d+)", read_text("/proc/stat"), flags=re.M)
    return float(match.group(1)) if match else 0.0
