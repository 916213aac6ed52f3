"""A host's GPUs, typed: what stays (`GpuFacts`), what changes by the minute (`GpuReadings`), what is around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from canaryctl.facts.typed import listed, one, section


@dataclass(frozen=True)
class GpuProcess:
    """A process on a GPU: `type` C (compute), G (graphics) or both; `memory` in bytes; `container` an id or ''."""

    pid: int = 0
    type: str = ""
    name: str = ""
    memory: int | None = None
    container: str = ""

    @property
    def computes(self) -> bool:
        """Whether it uses the GPU for more than a picture."""
        return "C" in self.type


@dataclass(frozen=True)
class MigInstance:
    """A part of a GPU under MIG; `memory` in bytes."""

    index: int = 0
    uuid: str = ""
    profile: str = ""
    memory: int | None = None


@dataclass(frozen=True)
class GpuReadings:
    """One GPU at the moment it was looked at. Sizes in bytes, temperature in degrees Celsius; None: it does not tell.

    `rows_pending`: rows are remapped at the next reset. `rows_failed`: no spare rows are left.
    """

    memory_used: int | None = None
    memory_free: int | None = None
    temperature: int | None = None
    throttled: tuple[str, ...] = ()
    ecc: str = ""
    ecc_uncorrected: int | None = None
    rows_remapped: int | None = None
    rows_pending: bool | None = None
    rows_failed: bool | None = None
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True)
class GpuFacts:
    """One GPU as its driver reports it; `memory` in bytes. Two looks at it are equal, whatever it was doing."""

    index: int = 0
    name: str = ""
    uuid: str = ""
    memory: int | None = None
    driver: str = ""
    compute_capability: str = ""
    pci_address: str = ""
    mig_mode: str = ""
    mig: tuple[MigInstance, ...] = ()
    readings: GpuReadings = field(default_factory=GpuReadings, compare=False)


@dataclass(frozen=True)
class CdiSpec:
    """A CDI specification of NVIDIA devices; `driver` is the version it was written for, `stale` where another runs."""

    path: str = ""
    devices: tuple[str, ...] = ()
    driver: str = ""
    stale: bool = False


@dataclass(frozen=True)
class GpuHost:
    """What a host has for GPUs, beside the GPUs themselves.

    `state`: none, ok, no-driver, lost or unanswered; `says` holds nvidia-smi's own complaint. `pci` lists the PCI
    addresses of NVIDIA's display controllers, `missing` those that the driver does not tell of. `hook`: the program is
    there by which Docker serves requests for driver `nvidia`. `toolkit` is the path of nvidia-ctk.
    """

    simulated: bool = False
    state: Literal["none", "ok", "no-driver", "lost", "unanswered"] = "none"
    says: str = ""
    driver: str = ""
    kernel_module: str = ""
    cuda: str = ""
    toolkit: str = ""
    toolkit_version: str = ""
    hook: bool = False
    nvidiactl: bool = False
    pci: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    cdi: tuple[CdiSpec, ...] = ()


def parse_gpus(entries: Any) -> tuple[GpuFacts, ...]:
    """The agent's `gpus`. Raises Unbelievable."""
    return tuple(_gpu(entry, f"gpus[{index}]") for index, entry in enumerate(listed(entries, "gpus")))


def parse_gpu_host(document: Any) -> GpuHost:
    """The agent's `gpu`. Raises Unbelievable."""
    found = dict(section(document, "gpu"))
    found["pci"] = [section(entry, "gpu.pci").get("address", "") for entry in listed(found.get("pci"), "gpu.pci")]
    return one(GpuHost, found, "gpu")


def _gpu(entry: Any, where: str) -> GpuFacts:
    known = section(entry, where)
    pci, mig, ecc, rows = (section(known.get(key), f"{where}.{key}") for key in ("pci", "mig", "ecc", "rows"))
    readings = {
        **known,
        "ecc": ecc.get("mode"),
        "ecc_uncorrected": ecc.get("volatile_uncorrected"),
        "rows_remapped": rows.get("remapped"),
        "rows_pending": rows.get("pending"),
        "rows_failed": rows.get("failed"),
        "pcie_generation": pci.get("generation"),
        "pcie_generation_max": pci.get("generation_max"),
        "pcie_width": pci.get("width"),
        "pcie_width_max": pci.get("width_max"),
    }
    values = {
        **known,
        "pci_address": pci.get("address"),
        "mig_mode": mig.get("mode"),
        "mig": mig.get("instances"),
        "readings": readings,
    }
    return one(GpuFacts, values, where)
