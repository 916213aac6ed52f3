"""What the agent's programs beside the observation answer, typed; the facts have modules of their own.

Each is read with `believed`, and so are the documents of Docker's that an answer carries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from canaryctl.facts.gpu import GpuFacts, GpuHost, parse_gpu_host, parse_gpus
from canaryctl.facts.lock import LockFacts
from canaryctl.facts.typed import believing, longest, one, section

F = TypeVar("F")


def believed(host: str, kind: type[F], answer: Any) -> F:
    """An answer as one of the classes here. Raises HostError, naming host and field, where no agent answers so."""
    with believing(host):
        return one(kind, answer)


@dataclass(frozen=True)
class Check:
    """One health check, as Docker keeps the last few."""

    End: str = ""
    ExitCode: int = 0
    Output: str = field(default="", metadata=longest(1 << 16))


@dataclass(frozen=True)
class Health:
    Status: str = ""
    Log: tuple[Check, ...] = ()


@dataclass(frozen=True)
class State:
    Status: str = ""
    StartedAt: str = ""
    ExitCode: int = 0
    OOMKilled: bool = False
    Health: Health | None = None


@dataclass(frozen=True)
class Config:
    Image: str = ""
    Labels: dict[str, str] = field(default_factory=dict, metadata=longest(1 << 16))
    Env: tuple[str, ...] = field(default=(), metadata=longest(1 << 18))


@dataclass(frozen=True)
class Inspected:
    """The parts of `docker inspect` that we read."""

    Id: str = ""
    Name: str = ""
    Image: str = ""
    RestartCount: int = 0
    State: State | None = None
    Config: Config | None = None


@dataclass(frozen=True)
class Collected:
    """Evidence of a project; `containers` are `docker inspect` documents, of which `Inspected` has been checked."""

    logs: dict[str, str] = field(default_factory=dict, metadata=longest(64 << 20))
    containers: tuple[dict[str, Any], ...] = ()
    memory: dict[str, int] = field(default_factory=dict)
    became_healthy: dict[str, tuple[float, ...]] = field(default_factory=dict)
    compose: str = field(default="", metadata=longest(1 << 22))
    errors: dict[str, str] = field(default_factory=dict, metadata=longest(1 << 16))


@dataclass(frozen=True)
class Xid:
    """An error of a GPU in the kernel's log."""

    time: float = 0
    device: str = ""
    number: int = 0
    text: str = ""


@dataclass(frozen=True)
class Watched:
    """A service's GPUs at one moment."""

    gpus: tuple[GpuFacts, ...] = ()
    gpu: GpuHost = field(default_factory=GpuHost)
    containers: tuple[str, ...] = ()
    cgroup_driver: str = ""
    xids: tuple[Xid, ...] = ()
    kernel_log: str = ""


@dataclass(frozen=True)
class ReloadAnswer:
    """Why systemd could not be made to reload its units, '' where it could."""

    error: str = ""


@dataclass(frozen=True)
class LockAnswer:
    """What came of any action on locks; `error`: none can be kept there."""

    error: str = ""
    holder: LockFacts | None = None
    path: str = ""
    displaced: tuple[LockFacts, ...] = ()
    touched: float = 0
    released: tuple[LockFacts, ...] = ()
    locks: dict[str, LockFacts | None] = field(default_factory=dict)
    lost: dict[str, dict[str, Any] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldSecret:
    """A secret without its value: a keyed digest and a slow fingerprint."""

    mac: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class HeldSecrets:
    """What a host holds of a stack's secrets, by name; `error`: why that cannot be read."""

    error: str = ""
    become_reason: str = ""
    secrets: dict[str, HeldSecret] = field(default_factory=dict)


@dataclass(frozen=True)
class PruneAnswer:
    """What was removed, by tag and directory, what could not be and why, and what stays for the files of others."""

    images: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    lost: tuple[dict[str, Any] | None, ...] | None = None


@dataclass(frozen=True)
class AppendAnswer:
    """What came of a line for a history; `error`: why it could not be written.

    `phase` is that of the change that was to be confirmed or given up: see agent/read/change.py.
    """

    error: str = ""
    phase: str = ""
    lost: tuple[dict[str, Any] | None, ...] | None = None


def collected(host: str, answer: Any) -> Collected:
    """The evidence. Raises HostError."""
    found = believed(host, Collected, answer)
    with believing(host):
        for index, document in enumerate(found.containers):
            one(Inspected, document, f"containers[{index}]")
    return found


def watched(host: str, answer: Any) -> Watched:
    """GPUs as seen from their host. Raises HostError."""
    with believing(host):
        found = section(answer, "")
        return one(Watched, {**found, "gpus": parse_gpus(found.get("gpus")), "gpu": parse_gpu_host(found.get("gpu"))})
