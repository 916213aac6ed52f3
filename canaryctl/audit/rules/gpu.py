"""Rules about GPUs: what the hardware, the driver, the toolkit and Docker say of each other."""

from __future__ import annotations

from collections.abc import Iterator

from canaryctl.audit.model import Found, HostConfig, Severity
from canaryctl.audit.rule import Rule
from canaryctl.facts.host import HostFacts
from canaryctl.plan.cuda import driver_is_enough, minimum_driver

LEAST_CUDA = "11"  # what is asked for where the images do not say: the first with minor version compatibility

GPU_MISSING = Rule(
    "gpu-missing",
    Severity.ERROR,
    title="A service needs a GPU and its host has none",
    why="It would not start there, or fall back to the CPU without a word.",
    fix="Place the service on a host with a GPU, or find out why this one does not show its own.",
)
DRIVER_MISSING = Rule(
    "gpu-driver-missing",
    Severity.ERROR,
    title="A GPU is there and no driver runs it",
    why="No container can use the GPU.",
    fix="Install the distribution's NVIDIA driver package, reboot, and check with nvidia-smi.",
)
GPU_LOST = Rule(
    "gpu-lost",
    Severity.ERROR,
    title="A GPU no longer answers its driver",
    why="Work on it hangs or fails; it usually needs a reset.",
    fix="See dmesg for Xid errors; drain the host and reboot it. If it comes back, have the hardware checked.",
)
DRIVER_OLD = Rule(
    "gpu-driver-old",
    Severity.ERROR,
    title="The GPU driver is older than what the images need",
    why="CUDA in the container refuses to initialise, and many programs then run on the CPU in silence.",
    fix="Upgrade the driver, or build the images for an older CUDA.",
)
TOOLKIT_MISSING = Rule(
    "gpu-toolkit-missing",
    Severity.ERROR,
    title="The NVIDIA container toolkit is not installed",
    why="Docker cannot hand the GPU to a container.",
    fix="Run: canaryctl provision ENV, or apply the role nvidia_container_toolkit.",
)
RUNTIME_MISSING = Rule(
    "gpu-runtime-not-registered",
    Severity.ERROR,
    title="Docker does not know a way to the GPU",
    why="The toolkit is installed, but neither its runtime, nor its hook, nor CDI is known to Docker.",
    fix="Run nvidia-ctk runtime configure --runtime=docker and restart Docker, or: canaryctl provision ENV.",
)
CDI_STALE = Rule(
    "gpu-cdi-stale",
    Severity.ERROR,
    title="The CDI specification was written for another driver",
    why="It names libraries that are gone: containers that ask for the GPU through it do not start.",
    fix="Write it anew: nvidia-ctk cdi generate --output=FILE, or: canaryctl provision ENV.",
)
LOST_ON_RELOAD = Rule(
    "gpu-lost-on-daemon-reload",
    Severity.INFO,
    title="Running containers may lose the GPU at systemctl daemon-reload",
    why="Under the systemd cgroup driver a reload takes away devices that the runtime's hook gave.",
    fix="Request the devices through CDI, or list them under `devices` in the compose file.",
)


def _present(facts: HostFacts) -> bool:
    return bool(facts.gpus or facts.gpu_host.pci or facts.gpu_host.nvidiactl)


def _driver(facts: HostFacts) -> str:
    return facts.gpu_host.driver or (facts.gpus[0].driver if facts.gpus else "")


def _weight(host: HostConfig) -> Severity | None:
    """What is amiss with a GPU that no service of the stack uses is a warning."""
    return None if host.gpu_services else Severity.WARNING


@GPU_MISSING.host
def gpu_missing(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Detected by PCI id and device file too, not by the driver alone."""
    if host.gpu_services and not _present(facts):
        yield Found(f"{', '.join(host.gpu_services)} need a GPU, and the host shows none", subject="gpu")


@DRIVER_MISSING.host
def driver_missing(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """A kernel that lists the device without a driver that tells of it."""
    lost = facts.gpu_host.state in ("lost", "unanswered")
    if _present(facts) and not facts.gpus and not _driver(facts) and not lost:
        yield Found("an NVIDIA GPU is there, and no driver tells of it", subject="driver", severity=_weight(host))


@GPU_LOST.host
def gpu_lost(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """The driver's own complaint, or devices that the kernel lists and the driver does not."""
    gpu = facts.gpu_host
    if gpu.state in ("lost", "unanswered"):
        says = gpu.says or "nvidia-smi did not answer"
        yield Found(f"a GPU does not answer: {says}", subject="gpu", severity=_weight(host))
    elif gpu.missing:
        yield Found(f"the driver does not tell of {', '.join(gpu.missing)}", subject="gpu", severity=_weight(host))


@DRIVER_OLD.host
def driver_old(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Where no image says what it needs, the oldest CUDA still in use counts."""
    driver = _driver(facts)
    cuda = host.cuda or LEAST_CUDA
    if driver and not driver_is_enough(driver, cuda):
        what = f"the driver is {driver}, CUDA {cuda} needs {minimum_driver(cuda)}"
        yield Found(what, subject="driver", severity=_weight(host))


@TOOLKIT_MISSING.host
def toolkit_missing(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """A Docker that offers the devices through CDI alone needs no toolkit to run them."""
    gpu = facts.gpu_host
    cdi = bool(facts.docker and facts.docker.cdi and gpu.cdi)
    if _present(facts) and _driver(facts) and not gpu.toolkit and not cdi:
        yield Found("nvidia-ctk is not installed", subject="toolkit", severity=_weight(host))


@RUNTIME_MISSING.host
def runtime_missing(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Any one of the three ways is enough."""
    gpu, docker = facts.gpu_host, facts.docker
    if not (_present(facts) and gpu.toolkit and docker and docker.running):
        return
    if "nvidia" not in docker.runtimes and not gpu.hook and not (docker.cdi and gpu.cdi):
        yield Found("neither runtime nor hook nor CDI is known to Docker", subject="runtime", severity=_weight(host))


@CDI_STALE.host
def cdi_stale(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Told by the driver's version in the names of the libraries."""
    for spec in facts.gpu_host.cdi:
        if spec.stale:
            what = f"{spec.path} is for driver {spec.driver}, {_driver(facts)} runs"
            yield Found(what, subject=spec.path, severity=_weight(host))


@LOST_ON_RELOAD.host
def lost_on_reload(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """The toolkit's own notice: cgroup driver systemd, devices not through CDI."""
    docker = facts.docker
    if host.gpu_services and facts.gpus and docker and docker.cgroup_driver == "systemd" and not docker.cdi:
        yield Found("Docker's cgroup driver is systemd, and devices do not come through CDI", subject="cgroup")
