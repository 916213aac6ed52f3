"""What the agent saw, typed. Tolerant of missing keys, so that an older or newer record still reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from canaryctl.errors import HostError
from canaryctl.facts.audit import AuditFacts, MountFacts, parse_audit, parse_mounts
from canaryctl.facts.change import ChangeFacts
from canaryctl.facts.gpu import GpuFacts, GpuHost, parse_gpu_host, parse_gpus
from canaryctl.facts.lock import LockFacts
from canaryctl.facts.odd import Odd, without_odd
from canaryctl.facts.started import MountedFacts, StartedFacts
from canaryctl.facts.typed import believing, longest, one, section


@dataclass(frozen=True)
class OsFacts:
    id: str = ""
    version_id: str = ""
    codename: str = ""
    pretty: str = ""


@dataclass(frozen=True)
class DiskFacts:
    """Of the file system that holds a path: bytes, and inodes for an unprivileged user (0 in all: it counts none)."""

    total: int = 0
    free: int = 0
    inodes: int = 0
    inodes_free: int = 0
    read_only: bool = False


@dataclass(frozen=True)
class DockerFacts:
    """A Docker that is installed; `running` only where its daemon answered, else `error` says why not.

    `silent`: the daemon is there, and answers nobody.
    """

    running: bool = False
    version: str = ""
    root: str = ""
    storage_driver: str = ""
    containerd_store: bool = False
    cgroup_driver: str = ""
    cgroup_version: str = ""
    rootless: bool = False
    runtimes: tuple[str, ...] = ()
    cdi: bool = False
    error: str = ""
    silent: bool = False


@dataclass(frozen=True)
class ImageFacts:
    """`layers` (RootFS diff ids) are known for the stack's own images only. `created` is an epoch."""

    id: str = ""
    tags: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    size: int = 0
    created: float = 0


@dataclass(frozen=True)
class PublishedPort:
    address: str = ""
    port: int = 0
    container_port: int = 0
    protocol: str = "tcp"


@dataclass(frozen=True)
class ContainerFacts:
    """Health, exit code, restarts, `restart` (the policy), start, hash, mounts and time to stop are known for the
    stack's own projects only.

    `config_hash` is what compose made of the service's definition that the container was created from. `stop_timeout`
    is in seconds, negative for a container that is never killed, None for Docker's own. `silent`: Docker says nothing
    of it but that it is there.
    """

    id: str = ""
    name: str = ""
    image: str = ""
    image_id: str = ""
    state: str = ""
    health: str = ""
    exit_code: int | None = None
    restarts: int = 0
    oom_killed: bool = False
    started: float | None = None
    project: str = ""
    service: str = ""
    oneoff: bool = False
    ports: tuple[PublishedPort, ...] = ()
    config_files: str = ""
    config_hash: str = ""
    mounts: tuple[MountedFacts, ...] = ()
    stop_timeout: float | None = None
    silent: bool = False
    restart: str = ""

    @property
    def has_done_its_work(self) -> bool:
        """Whether it ended well and was to end: nobody is to start it again, and nobody looks after its health."""
        ended = self.state == "exited" and self.exit_code == 0
        return ended and not self.health and self.restart in ("", "no", "on-failure")


@dataclass(frozen=True)
class VolumeFacts:
    name: str = ""
    created: float | None = None
    project: str = ""


@dataclass(frozen=True)
class PortFacts:
    """A listening TCP socket; `pid` None where its owner is hidden from us."""

    address: str = ""
    port: int = 0
    pid: int | None = None
    process: str = ""


@dataclass(frozen=True)
class ReleaseFacts:
    """A release directory: its release.json, and the sha256 of its files where they were asked for."""

    release: dict[str, Any] | None = None
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StateFacts:
    """What earlier deployments of the stack left. `secrets` is the keyed hash of secrets.env (see `secrets_mac`).

    `secret_macs` are the same of its lines by name; `secrets_unused` names those that services were not started with.
    `started` is what compose last brought up here, to the end; `change` the last change of what is served.
    """

    current: str | None = None
    releases: dict[str, ReleaseFacts] = field(default_factory=dict)
    secrets: str | None = None
    secret_macs: dict[str, str] = field(default_factory=dict)
    secrets_unused: tuple[str, ...] = ()
    started: StartedFacts | None = None
    migrated: dict[str, Any] | None = None
    history: tuple[dict[str, Any], ...] = ()
    lock: LockFacts | None = None
    change: ChangeFacts | None = None

    @property
    def current_release(self) -> dict[str, Any] | None:
        """The release.json of what is current."""
        known = self.releases.get(self.current or "")
        return known.release if known else None


@dataclass(frozen=True)
class HostFacts:
    """One host, observed once. `errors` holds what could not be read, by section; `raw` the document as it came.

    `odd` says, in sentences, what was left out because it cannot be right.
    """

    host: str
    time: float = 0
    clock_skew: float = 0  # seconds the host's clock is ahead of ours
    hostname: str = ""
    user: str = ""
    uid: int = 0
    become: str = "none"
    become_reason: str = ""
    os: OsFacts = field(default_factory=OsFacts)
    kernel: str = ""
    arch: str = ""
    python: str = ""
    cpu_count: int = 0
    cpu_model: str = ""
    memory_total: int = 0
    memory_available: int = 0
    disks: dict[str, DiskFacts] = field(default_factory=dict)
    docker: DockerFacts | None = None
    compose: str | None = None
    images: tuple[ImageFacts, ...] = ()
    containers: tuple[ContainerFacts, ...] = ()
    volumes: tuple[VolumeFacts, ...] = ()
    ports: tuple[PortFacts, ...] = ()
    gpus: tuple[GpuFacts, ...] = ()
    gpu_host: GpuHost = field(default_factory=GpuHost)
    mounts: dict[str, MountFacts] = field(default_factory=dict)
    state: StateFacts = field(default_factory=StateFacts)
    audit: AuditFacts = field(default_factory=AuditFacts)
    errors: dict[str, str] = field(default_factory=dict, metadata=longest(1 << 16))
    odd: tuple[str, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def sudo(self) -> bool:
        """Whether commands that need Docker or the canary root take `sudo -n` on this host."""
        return self.become == "sudo"

    @property
    def gpu_simulated(self) -> bool:
        """Whether the GPUs are the lab's stand-ins."""
        return self.gpu_host.simulated

    def container(self, service: str, project: str) -> ContainerFacts | None:
        """The service's container (one-off ones apart), the running one where there are several."""
        found = [c for c in self.containers if (c.service, c.project) == (service, project) and not c.oneoff]
        return min(found, key=lambda c: c.state != "running", default=None)

    def projects(self, stack: str) -> tuple[str, ...]:
        """Compose projects `<stack>-<environment>` that have containers here."""
        return tuple(sorted({c.project for c in self.containers if c.project.startswith(f"{stack}-")}))

    def has_image(self, identity: str, layers: Iterable[str] = ()) -> bool:
        """Whether an image is here: by id, or by our content-addressed tag where the store's ids are manifest digests.

        With `layers` they must match too, for a tag alone can be moved.
        """
        short, wanted = identity.removeprefix("sha256:")[:12], tuple(layers)
        by_tag = self.docker is not None and self.docker.containerd_store

        def named(image: ImageFacts) -> bool:
            return any(tag.startswith("canaryctl/") and tag.endswith(short) for tag in image.tags)

        return any(
            (image.id == identity or (by_tag and named(image))) and (not wanted or image.layers == wanted)
            for image in self.images
        )

    def has_tagged(self, identity: str, tag: str, layers: Iterable[str] = ()) -> bool:
        """Whether that very image carries the tag, which is what compose starts; with `layers` they must match too.

        Where the store's ids are manifest digests, `identity` cannot be compared: the tag and the layers say it.
        """
        wanted = tuple(layers)
        by_tag = self.docker is not None and self.docker.containerd_store
        return any(
            tag in image.tags and (by_tag or image.id == identity) and (not wanted or image.layers == wanted)
            for image in self.images
        )

    def runs_image(self, container: ContainerFacts, identity: str, tag: str) -> bool:
        """Whether a container's image is this one: by its tag where the store's ids are manifest digests."""
        by_tag = self.docker is not None and self.docker.containerd_store
        return container.image_id == identity or (by_tag and container.image == tag)

    def listener(self, port: int, address: str = "") -> PortFacts | None:
        """Who listens on a TCP port; with `address`, only where it would be in the way of binding to that."""
        anywhere = ("0.0.0.0", "::")  # noqa: S104  compared with, not bound
        for entry in self.ports:
            clash = not address or address in anywhere or entry.address in (address, *anywhere)
            if entry.port == port and clash:
                return entry
        return None

    def require_privilege(self) -> None:
        """Raise HostError where sudo was needed and refused."""
        if self.become == "refused":
            why = (self.become_reason.splitlines() or ["no reason given"])[-1]
            raise HostError(
                f"sudo is refused for {self.user}: {why}",
                self.host,
                "Give --ask-become-pass, allow sudo without a password, or let the user use Docker and canary_root.",
                reason="sudo",
            )


def parse(host: str, document: Mapping[str, Any], *, clock_skew: float = 0) -> HostFacts:
    """The agent's document -> facts.

    Raises:
        HostError: it holds something that no agent of ours says; names the field.
    """
    odd = Odd()
    with believing(host):
        answer = section(document, "")
        known = without_odd(answer, odd)
        cpu, memory, compose = (section(known.get(key), key) for key in ("cpu", "memory", "compose"))
        values = {
            **known,
            "host": host,
            "clock_skew": clock_skew,
            "cpu_count": cpu.get("count"),
            "cpu_model": cpu.get("model"),
            "memory_total": memory.get("total"),
            "memory_available": memory.get("available"),
            "docker": known.get("docker") or None,
            "compose": compose.get("version"),
            "gpus": parse_gpus(known.get("gpus")),
            "gpu_host": parse_gpu_host(known.get("gpu")),
            "mounts": parse_mounts(known.get("mounts")),
            "audit": parse_audit(known.get("audit")),
            "odd": odd.sentences(),
            "raw": dict(answer),
        }
        return one(HostFacts, values)
