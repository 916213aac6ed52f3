"""The probe kinds, told apart by `kind`, and what can be said of probes of any kind."""

from __future__ import annotations

from collections.abc import Sequence

from canaryctl.config.probes.containers import Container, Exec, Logs, Sql
from canaryctl.config.probes.gpu import Gpu
from canaryctl.config.probes.lifecycle import Lifecycle
from canaryctl.config.probes.network import Http, Registered, Tcp

Probe = Http | Tcp | Exec | Container | Logs | Registered | Lifecycle | Sql | Gpu
KINDS = ("http", "tcp", "exec", "container", "logs", "registered", "lifecycle", "sql", "gpu")


def is_on_service(probe: Probe) -> bool:
    """Whether the probe's `on` names a service, whose container it looks at."""
    return isinstance(probe, (Exec, Container, Logs, Sql, Gpu))


def saved_names(probe: Probe) -> tuple[str, ...]:
    """The values a probe keeps for the ones that need it."""
    if isinstance(probe, Lifecycle):
        return tuple(probe.start.save)
    return tuple(probe.save) if isinstance(probe, (Http, Exec, Sql)) else ()


def needed_by(probe: Probe, probes: Sequence[Probe]) -> set[str]:
    """Names of all probes a probe needs, directly or through others."""
    by_name = {other.name: other for other in probes}
    found: set[str] = set()
    waiting = list(probe.needs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].needs
    return found
