"""What a container is given of the simulated GPU, by the runtime, the hook and the CDI specification alike."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

CONF = Path("/etc/canaryctl-gpu-simulator.conf")
SMI = Path("/usr/bin/nvidia-smi")
# Said to the processes, so that nvidia-smi can tell which were started with the GPU.
MARK = "CANARYCTL_GPU_SIMULATOR=1"


class UnavailableError(Exception):
    """There is no GPU to give; the words are what the real toolkit's library says."""


def settings() -> dict[str, str]:
    """The simulated GPU's configuration; without its package there is no driver."""
    if not (CONF.exists() and SMI.exists()):
        return {"STATE": "no-driver", "GPUS": "0"}
    lines = [line.partition("=") for line in CONF.read_text().splitlines() if not line.startswith("#")]
    return {
        "STATE": "healthy",
        "GPUS": "1",
        **{name.strip(): shlex.split(value)[0] for name, _, value in lines if value},
    }


def gpus() -> list[str]:
    """Indices of the GPUs.

    Raises:
        UnavailableError: driver not loaded, or the GPU is lost.
    """
    found = settings()
    if found["STATE"] == "no-driver":
        raise UnavailableError("nvml error: driver not loaded")
    if found["STATE"] == "lost":
        raise UnavailableError("nvml error: gpu is lost")
    return [str(index) for index in range(int(found["GPUS"]))]


def uuid(index: str) -> str:
    """A GPU's UUID, as the simulated nvidia-smi gives it."""
    return f"GPU-5ca1ab1e-0000-4000-8000-{int(index):012d}"


def chosen(visible: str) -> list[str]:
    """The GPUs that a value of NVIDIA_VISIBLE_DEVICES names.

    Raises:
        UnavailableError: it names one that is not there.
    """
    if visible in ("", "void"):
        return []
    there = gpus()
    if visible in ("all", "none"):
        return there if visible == "all" else []
    names = {name: index for index in there for name in (index, uuid(index))}
    for name in visible.split(","):
        if name not in names:
            raise UnavailableError(f"device error: {name}: unknown device")
    return [names[name] for name in visible.split(",")]


def wanted(environment: list[str]) -> tuple[list[str], bool]:
    """The GPUs that a container's environment asks for, and whether nvidia-smi comes with them."""
    values = dict(entry.partition("=")[::2] for entry in environment)
    capabilities = values.get("NVIDIA_DRIVER_CAPABILITIES") or "compute,utility"
    return chosen(values.get("NVIDIA_VISIBLE_DEVICES", "")), bool({"utility", "all"} & set(capabilities.split(",")))


def mounts(utility: bool) -> list[Path]:
    """Files that are mounted into the container, read-only."""
    return [CONF, SMI] if utility else [CONF]


def nodes(indices: list[str]) -> list[Path]:
    """Device nodes that the container gets."""
    return [Path("/dev/nvidiactl"), *(Path(f"/dev/nvidia{index}") for index in indices)]


def bind(path: Path) -> dict[str, Any]:
    """An OCI mount of a host's file at its own place."""
    options = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
    return {"source": str(path), "destination": str(path), "type": "bind", "options": options}
