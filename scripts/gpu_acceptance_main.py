"""What scripts/gpu-acceptance does: look at this machine's GPUs, try them, judge, and write what was found.

scripts/bundle-gpu-acceptance puts this behind the modules that it imports; the result needs nothing but Python 3.7.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from typing import Any

from canaryctl.agent.read.docker import Docker, DockerError, open_docker
from canaryctl.agent.read.gpu import about_gpus, start_gpu_programs
from canaryctl.agent.read.gpuwatch import boot_time, kernel_log, parse_xids
from canaryctl.agent.read.system import about_cpu, about_memory, about_os
from canaryctl.probe.incontainer.gpu_rules import in_words, judge_gpu
from canaryctl.probe.incontainer.gpu_shape import read_gpu_answer

GPU_CHECK = ""  # the in-container program; the bundle fills it in
DEADLINE = 300  # seconds for the in-container program


def main() -> int:
    asked = arguments()
    host = look_at_host()
    inside = try_inside(asked)
    before = read_before(asked.before)
    if before:
        uuids = [gpu["uuid"] for gpu in host["gpus"]]
        before["gpus"] = [uuid for known in before["gpus"] for uuid in uuids if hashed(uuid) == known]
    judged = judge_gpu(inside, host, asked.devices, before, asked.slower_than)
    words = in_words(judged, inside, host)
    verdict = {key: judged[key] for key in ("faults", "remarks", "figures", "simulated")}
    verdict.update(verdict="failed" if judged["faults"] else "passed", gpus_used=judged["gpus"])
    evidence = without_identity({**host, "inside": inside, "where": asked.image or "this machine", **verdict})
    if not asked.image:
        words = words.replace("in the container", "on this machine").replace(
            "it was started without a GPU", "no driver"
        )
    with open(asked.output, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(evidence, file, indent=1, sort_keys=True)
        file.write("\n")
    sys.stdout.write(f"{evidence['verdict']}: {words}\nevidence: {asked.output}\n")
    return 1 if judged["faults"] else 0


def arguments() -> Any:
    parser = argparse.ArgumentParser(description="Check this machine's GPUs and write evidence without its identity.")
    parser.add_argument("--image", help="run the check in a container of this image (it needs a Python), not directly")
    parser.add_argument("--docker-options", default="--gpus all", help="what gives the container GPUs (%(default)s)")
    parser.add_argument("--devices", type=int, default=1, help="GPUs that must be seen at least (%(default)s)")
    parser.add_argument("--before", help="evidence of an earlier run here, to compare the figures with")
    parser.add_argument(
        "--slower-than", type=float, default=0.7, help="the share of these that is enough (%(default)s)"
    )
    parser.add_argument("--output", default="gpu-acceptance.json", help="where to write the evidence (%(default)s)")
    return parser.parse_args()


def look_at_host() -> dict[str, Any]:
    """What the machine tells: GPUs, driver, toolkit, Docker, Xid errors since it was booted."""
    programs, errors = start_gpu_programs(), {}  # type: ignore[var-annotated]
    try:
        daemon = open_docker()
        docker = about_daemon(daemon) if daemon else None
    except (DockerError, OSError, ValueError) as error:
        docker = {"error": str(error)}
    gpus, gpu = about_gpus(programs, errors)
    source, text = kernel_log(gpu["simulated"], boot_time())
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "os": about_os(),
        "kernel": os.uname().release,
        "cpu": about_cpu(),
        "memory": about_memory(),
        "docker": docker,
        "gpus": gpus,
        "gpu": gpu,
        "errors": errors,
        "kernel_log": source,
        "xids": parse_xids(text, 0.0, boot_time()),
    }


def about_daemon(daemon: Docker) -> dict[str, Any]:
    info = daemon.get("/info")
    known = {"version": "ServerVersion", "cgroup_driver": "CgroupDriver", "cdi": "CDISpecDirs"}
    return {**{name: info.get(key) for name, key in known.items()}, "runtimes": sorted(info.get("Runtimes") or {})}


def try_inside(asked: Any) -> dict[str, Any]:
    argv = [sys.executable, "-"]
    if asked.image:
        options = shlex.split(asked.docker_options)
        argv = [
            "docker",
            "run",
            "--rm",
            "-i",
            "--network",
            "none",
            *options,
            "--entrypoint",
            "python3",
            asked.image,
            "-",
        ]
    program = GPU_CHECK + "\nanswer_gpu_check(False)\n"
    try:
        done = subprocess.run(argv, input=program.encode(), capture_output=True, timeout=DEADLINE)
        return read_gpu_answer(done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2])
    except ValueError as error:
        complaint = done.stderr.decode("utf-8", "replace").strip()[-400:]
        return {"python": "", "libcuda": {"error": complaint or f"the answer of the check {error}"}, "smi": {}}
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"python": "", "libcuda": {"error": str(error)}, "smi": {}}


def read_before(path: str | None) -> dict[str, Any]:
    """Figures of earlier evidence, whose UUIDs are hashed."""
    if not path:
        return {}
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        known = json.load(file)
    return {"gpus": known["gpus_used"], "figures": known["figures"]}


def hashed(uuid: str) -> str:
    return uuid.partition("-")[0] + "-" + hashlib.sha256(uuid.encode()).hexdigest()[:12]


def without_identity(value: Any) -> Any:
    """The same without what names this machine: UUIDs are hashed, processes and the host's name left out."""
    if isinstance(value, dict):
        return {key: without_identity(item) for key, item in value.items() if key != "processes"}
    if isinstance(value, list):
        return [without_identity(item) for item in value]
    if isinstance(value, str):
        text = re.sub(r"(?:GPU|MIG)-[0-9a-f]{8}-[0-9a-f-]{20,}", lambda found: hashed(found.group(0)), value)
        text = re.sub(r"pid='?[^,]*'?, name=[^,]*", "pid=?, name=?", text)
        name = socket.gethostname()
        return text.replace(name, "[host]") if len(name) > 3 else text
    return value


if __name__ == "__main__":
    sys.exit(main())
