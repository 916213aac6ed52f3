"""GPUs for services: which service wants one, what its host has to give, and what stands in the way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.config.policy import Policy
from canaryctl.config.sizes import show_size
from canaryctl.config.stack import Image, Stack
from canaryctl.config.versions import version_of
from canaryctl.errors import ApplyError
from canaryctl.facts.gpu import GpuFacts, MigInstance
from canaryctl.facts.host import HostFacts
from canaryctl.plan.cuda import driver_is_enough, minimum_driver

CAPABILITIES = ("gpu", "compute", "utility")
_CDI = "nvidia.com/gpu="


@dataclass(frozen=True)
class GpuRequest:
    """A service that gets GPUs, and its image, whose floors they must meet."""

    service: str
    name: str
    image: Image

    @property
    def required(self) -> bool:
        """Whether it cannot do without."""
        return self.image.gpu == "required"

    @property
    def subject(self) -> str:
        """How messages call it."""
        return f"service {self.service} (image {self.name})"


@dataclass(frozen=True)
class Device:
    """What a service is given: a GPU, or an instance of one under MIG."""

    id: str
    words: str
    memory: int | None
    gpu: GpuFacts


def wants_of(stack: Stack, variant: str, services: Iterable[str]) -> tuple[GpuRequest, ...]:
    """The services among these that get GPUs in a variant."""
    images = {service: stack.variants[variant][service] for service in services}
    chosen = stack.gpu_services
    return tuple(
        GpuRequest(service, name, stack.images[name])
        for service, name in images.items()
        if stack.images[name].gpu != "none" and (chosen is None or service in chosen)
    )


def reservation(facts: HostFacts, policy: Policy) -> dict[str, Any] | None:
    """The entry of `deploy.resources.reservations.devices` that gives a service its GPUs; None where there are none."""
    if not facts.gpus:
        return None
    if _cdi_alone(facts):
        return {"driver": "cdi", "device_ids": _cdi_names(facts, policy), "capabilities": ["gpu"]}
    given: dict[str, Any] = {"driver": "nvidia", "capabilities": list(CAPABILITIES)}
    if isinstance(policy.gpu_devices, tuple):
        return given | {"device_ids": list(policy.gpu_devices)}
    return given | {"count": policy.gpu_devices}


def run_options(facts: HostFacts, policy: Policy) -> tuple[str, ...]:
    """What gives a container of `docker run` the same as `reservation` a service.

    A simulated GPU that Docker cannot give needs nothing: the CPU computes for it.
    """
    device = reservation(facts, policy)
    if device is None or (facts.gpu_simulated and not can_offer(facts)):
        return ()
    if device["driver"] == "cdi":
        return tuple(word for name in device["device_ids"] for word in ("--device", name))
    which = f"device={','.join(device['device_ids'])}" if "device_ids" in device else f"count={device['count']}"
    capabilities = f"capabilities={','.join(device['capabilities'])}"
    return "--gpus", ",".join(f'"{field}"' for field in ("driver=nvidia", which, capabilities))


def can_offer(facts: HostFacts) -> bool:
    """Whether Docker on a host can give a container GPUs now."""
    docker = facts.docker
    return _cdi_alone(facts) or facts.gpu_host.hook or (docker is not None and "nvidia" in docker.runtimes)


def devices_for(facts: HostFacts | None, policy: Policy, wants: Iterable[GpuRequest]) -> dict[str, dict[str, Any]]:
    """What services get, as compose wants it: the required always, the optional where GPUs can be had."""
    device = reservation(facts, policy) if facts else None
    if facts is None or device is None:
        return {}
    return {want.service: device for want in wants if want.required or can_offer(facts)}


def gpu_lacks(facts: HostFacts, policy: Policy, wants: Iterable[GpuRequest]) -> list[str]:
    """What a host lacks for its services that require a GPU and provisioning can install."""
    if not any(want.required for want in wants) or _cdi_alone(facts):
        return []
    lacks = ["the NVIDIA driver is not installed"] if _driver_comes(facts, policy) else []
    if not facts.gpu_host.toolkit:
        lacks.append("the NVIDIA container toolkit is not installed")
    if facts.docker is None or not facts.docker.running:
        return lacks
    if "nvidia" not in facts.docker.runtimes:
        lacks.append("Docker does not know the runtime nvidia")
    return lacks


def gpu_problems(facts: HostFacts, policy: Policy, wants: Iterable[GpuRequest]) -> list[ApplyError]:
    """What forbids a service that requires a GPU to run on a host, each with what is there and what is needed."""
    needed = [want for want in wants if want.required]
    if not needed:
        return []
    who = ", ".join(want.subject for want in needed)
    if _driver_comes(facts, policy):
        return []  # what it brings to light is looked at once it is there
    if missing := _no_gpu(facts):
        what, hint = missing
        return [_problem(facts, f"{who} needs a GPU: {what}", hint)]
    devices, unknown = chosen_devices(facts, policy)
    if unknown:
        known = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in facts.gpus)
        return [_problem(facts, f"canary_gpu_devices asks for {unknown}", f"GPUs there are: {known}")]
    return [problem for want in needed for problem in _floors(facts, want, devices)]


def unchecked(facts: HostFacts, policy: Policy, wants: Iterable[GpuRequest]) -> list[str]:
    """Notes on floors that could not be checked because the driver does not tell."""
    devices, _ = chosen_devices(facts, policy)
    return [
        f"{facts.host}: {device.words} does not tell its compute capability; {want.subject} needs "
        f"{want.image.compute_capability}, which could not be checked"
        for want in wants
        for device in devices
        if want.image.compute_capability and not device.gpu.compute_capability
    ]


def chosen_devices(facts: HostFacts, policy: Policy) -> tuple[list[Device], str]:
    """The devices that services get, and in words what was asked for and is not there."""
    every = [device for gpu in facts.gpus for device in _devices_of(gpu)]
    chosen = policy.gpu_devices
    if chosen == "all":
        return every, ""
    if isinstance(chosen, int):
        return every[:chosen], f"{chosen} GPUs, and there are {len(every)}" if chosen > len(every) else ""
    by_name: dict[str, list[Device]] = {device.id: [device] for device in every}
    for gpu in facts.gpus:
        by_name |= {str(gpu.index): _devices_of(gpu), gpu.uuid: _devices_of(gpu)}
        by_name |= {f"{gpu.index}:{part.index}": [_instance(gpu, part)] for part in gpu.mig}
    strange = [name for name in chosen if name not in by_name]
    found = [device for name in chosen for device in by_name.get(name, ())]
    return found, f"{', '.join(strange)}, which is not there" if strange else ""


def _devices_of(gpu: GpuFacts) -> list[Device]:
    if gpu.mig:
        return [_instance(gpu, part) for part in gpu.mig]
    return [Device(gpu.uuid, f"GPU {gpu.index} ({gpu.name})", gpu.memory, gpu)]


def _instance(gpu: GpuFacts, part: MigInstance) -> Device:
    profile = f"{part.profile} of " if part.profile else ""
    return Device(part.uuid, f"MIG instance {part.index} ({profile}GPU {gpu.index}, {gpu.name})", part.memory, gpu)


def _driver_comes(facts: HostFacts, policy: Policy) -> bool:
    """Whether provisioning installs the driver that is missing. Whether there is a GPU for it is seen afterwards."""
    return policy.gpu_driver and policy.provision == "auto" and facts.gpu_host.state in ("none", "no-driver")


def _no_gpu(facts: HostFacts) -> tuple[str, str] | None:
    """Why a host has no GPU that could be used, and what to do."""
    host = facts.gpu_host
    where = f" (PCI {', '.join(host.pci)})" if host.pci else ""
    words = f": {host.says}" if host.says else ""
    if host.state == "lost":
        return f"the host has lost one{where}{words}", "reboot the host, and look for Xid lines in its kernel log"
    if facts.gpus:
        return None
    if host.state == "no-driver":
        return (
            f"the host has an NVIDIA GPU{where} without a working driver{words}",
            "install the driver of your distribution or of NVIDIA, reboot, and see that nvidia-smi lists the GPU",
        )
    if host.state == "unanswered":
        return (
            f"nvidia-smi on the host gives no answer{words}",
            "run nvidia-smi there; a driver that hangs needs a reboot",
        )
    return (
        "the host has none (no NVIDIA device on its PCI bus, no /dev/nvidiactl, no nvidia-smi)",
        "place the service on a host with a GPU, or give its image gpu: optional",
    )


def _floors(facts: HostFacts, want: GpuRequest, devices: Iterable[Device]) -> list[ApplyError]:
    image, found = want.image, []
    driver = facts.gpu_host.driver
    if image.cuda and driver and not driver_is_enough(driver, image.cuda):
        found.append(
            _problem(
                facts,
                f"{want.subject} is made with CUDA {image.cuda}, which needs driver {minimum_driver(image.cuda)} or "
                f"newer; the host runs {driver}",
                "install a newer driver and reboot, or use an image made with an older CUDA",
            )
        )
    for device in devices:
        short = device.memory is not None and device.memory < (image.gpu_memory or 0)
        if short:
            has, needs = show_size(device.memory or 0), show_size(image.gpu_memory or 0)
            found.append(_too_little(facts, want, device, f"{has} of memory", needs))
        capability = device.gpu.compute_capability
        if image.compute_capability and capability and version_of(capability) < version_of(image.compute_capability):
            found.append(_too_little(facts, want, device, f"compute capability {capability}", image.compute_capability))
    return found


def _too_little(facts: HostFacts, want: GpuRequest, device: Device, has: str, needs: str) -> ApplyError:
    return _problem(
        facts,
        f"{device.words} has {has}, {want.subject} needs {needs}",
        "choose other GPUs with canary_gpu_devices, or place the service on another host",
    )


def _problem(facts: HostFacts, what: str, hint: str) -> ApplyError:
    return ApplyError(what, hint=hint, stage="start", host=facts.host)


def _cdi_alone(facts: HostFacts) -> bool:
    """Whether Docker offers the GPUs through CDI and in no other way."""
    docker = facts.docker
    if docker is None or not docker.cdi or not any(spec.devices for spec in facts.gpu_host.cdi):
        return False
    return "nvidia" not in docker.runtimes and not facts.gpu_host.hook


def _cdi_names(facts: HostFacts, policy: Policy) -> list[str]:
    offered = list(dict.fromkeys(name for spec in facts.gpu_host.cdi for name in spec.devices))
    single = [name for name in offered if name != f"{_CDI}all"]
    if isinstance(policy.gpu_devices, tuple):
        return [f"{_CDI}{device}" for device in policy.gpu_devices]
    if policy.gpu_devices == "all":
        return [f"{_CDI}all"] if f"{_CDI}all" in offered else single
    return single[: int(policy.gpu_devices)]


def others_on(facts: HostFacts, stack: str) -> list[str]:
    """Containers of others that run on a host, and processes that are not ours on its GPUs, each in words."""
    ours = set(facts.projects(stack))
    running = [c for c in facts.containers if c.state == "running" and c.project not in ours]
    return [f"{facts.host}: container {c.name} ({c.image})" for c in running] + busy_with(facts, stack)


def busy_with(facts: HostFacts, stack: str, devices: Iterable[Device] | None = None) -> list[str]:
    """Processes of others that compute on a host's GPUs, or on these of them, each in words."""
    ours = {c.id for c in facts.containers if c.project in facts.projects(stack)}
    names: Mapping[str, str] = {c.id: c.name for c in facts.containers}
    meant = None if devices is None else {device.gpu.uuid for device in devices}
    found = []
    for gpu in facts.gpus:
        for process in gpu.readings.processes:
            if not process.computes or process.container in ours or (meant is not None and gpu.uuid not in meant):
                continue
            container = names.get(process.container)
            size = f", {show_size(process.memory)}" if process.memory else ""
            inside = f" in container {container}" if container else ""
            found.append(f"{facts.host}: process {process.pid} ({process.name}{size}){inside} on GPU {gpu.index}")
    return found


def busy_problems(facts: HostFacts, policy: Policy, wants: Iterable[GpuRequest], stack: str) -> list[ApplyError]:
    """Why a deploy must not begin: others compute on GPUs that a service requires, and the policy does not go on."""
    devices, _ = chosen_devices(facts, policy)
    needed = [want for want in wants if want.required]
    if policy.busy == "proceed" or not needed:
        return []
    busy = busy_with(facts, stack, devices)
    if not busy:
        return []
    waiting = f"a deploy waits {show_duration(policy.busy_wait)} for them (canary_busy_wait); then set canary_busy to"
    hint = f"{waiting} proceed" if policy.busy == "wait" else "set canary_busy to wait or proceed"
    return [
        BusyError(
            f"GPUs that {needed[0].subject} requires are in use: {'; '.join(busy)}",
            hint=f"{hint}, or choose other GPUs with canary_gpu_devices",
            stage="start",
            host=facts.host,
        )
    ]


class BusyError(ApplyError):
    """GPUs are in use by others: time may fix it."""
