"""What probes are given: names for their templates, connections to hosts, and how secrets are hidden."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from canaryctl.probe.results import Exchange


class Completed(Protocol):
    """A command that ended on a host."""

    @property
    def code(self) -> int:
        """Its exit code."""

    @property
    def stdout(self) -> bytes:
        """What it wrote."""

    @property
    def stderr(self) -> bytes:
        """What it complained about."""


class Connection(Protocol):
    """An SSH connection to one host. Both calls raise HostError when the host itself is lost."""

    def run(self, command: str, *, stdin: bytes = b"", timeout: float | None = 60) -> Completed:
        """Run a shell command; TimeoutError after `timeout` seconds."""

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection made from the host; OSError when the target refuses or does not answer."""


class Connections(Protocol):
    """The pool of connections."""

    def get(self, name: str) -> Connection:
        """The connection to a host, opened when first asked for; HostError when it cannot be."""


@dataclass(frozen=True)
class Begun:
    """An operation of a lifecycle that was started before a deploy. `began` is on the `time.monotonic()` clock.

    `outlasted`: whether it still went on when the new release was up. `restarts`: containers that were started since.
    """

    saved: Mapping[str, Any]
    exchanges: tuple[Exchange, ...]
    began: float
    outlasted: bool = True
    restarts: int = 0


HOST_NAMES = ("host", "address", "services", "gpus")  # template names that differ by host


@dataclass(frozen=True)
class ProbeContext:
    """Everything a set of probes runs in.

    Attributes:
        environment: its name.
        variables: the names templates see, the same as the compose template's: `environment stack variant release
            images groups hosts service_hosts` ...; `hosts` is {name: {address, groups, services}}, `groups` and
            `service_hosts` map a name to hosts' names. HOST_NAMES are set for each host here.
        connections: the pool.
        project: the compose project's name.
        sudo: hosts where Docker needs `sudo -n`.
        python: the hosts' own Python, where it is not `python3`.
        clock_skew: seconds that the hosts' clocks are ahead of this machine's.
        identities: config digest of the release's image for each service.
        by_tag: hosts whose image store names images by manifest digest, so that only their tag tells which it is.
        run: the id of this run.
        others: asks for the ids of other runs that probe the same environment now.
        secrets: the stack's secrets that have a value, for templates alone.
        scrub: hides known secrets in a text.
        limit: hosts this run may touch; None means all.
        look_at_gpus: (host, service, log, reload) to what the host tells of a service's GPUs; see `hosts.watch_gpus`.
        in_flight: by (probe, host) the operations under way across a deploy; None while it is not over.
        gpus_before: (probe, host) to what a gpu probe found in this host's last good run; empty where there is none.
    """

    environment: str
    variables: Mapping[str, Any]
    connections: Connections
    project: str = ""
    sudo: Mapping[str, bool] = field(default_factory=dict)
    python: Mapping[str, str] = field(default_factory=dict)
    clock_skew: Mapping[str, float] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)
    by_tag: frozenset[str] = frozenset()
    run: str = ""
    others: Callable[[], Iterable[str]] = tuple
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    scrub: Callable[[str], str] = str
    limit: frozenset[str] | None = None
    look_at_gpus: Callable[[str, str, bool, bool], dict[str, Any]] = lambda host, service, log, reload: {}
    in_flight: Mapping[tuple[str, str], Begun | None] = field(default_factory=dict)
    gpus_before: Callable[[str, str], dict[str, Any]] = lambda probe, host: {}

    def knows(self, name: str) -> bool:
        """Whether `name` is a group or a service here."""
        return name in self.variables.get("groups", {}) or name in self.variables.get("service_hosts", {})

    def hosts_of(self, name: str, *, service: bool = False) -> tuple[str, ...]:
        """Hosts of a group, or those a service is placed on (`service`: do not look for a group of that name)."""
        groups = {} if service else self.variables.get("groups", {})
        found = groups[name] if name in groups else self.variables.get("service_hosts", {}).get(name, ())
        return tuple(host for host in found if self.limit is None or host in self.limit)

    def names_on(self, host: str) -> dict[str, Any]:
        """The template names as one host sees them."""
        own = self.variables.get("hosts", {}).get(host, {})
        return {
            **self.variables,
            "host": host,
            "address": own.get("address", host),
            "services": list(own.get("services", ())),
            "gpus": list(own.get("gpus", ())),
        }
