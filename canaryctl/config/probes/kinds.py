"""The probe kinds, told apart by `kind`, and what can be said of probes of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from canaryctl.config.probes.container import Container
from canaryctl.config.probes.exec import Exec
from canaryctl.config.probes.gpu import Gpu
from canaryctl.config.probes.http import Http
from canaryctl.config.probes.lifecycle import Lifecycle
from canaryctl.config.probes.logs import Logs
from canaryctl.config.probes.registered import Registered
from canaryctl.config.probes.sql import Sql
from canaryctl.config.probes.tcp import Tcp

# The registry: a kind is its model here, and the module of its name in probe/, which runs it.
Probe = Http | Tcp | Exec | Container | Logs | Registered | Lifecycle | Sql | Gpu
KINDS: tuple[str, ...] = tuple(get_args(model.model_fields["kind"].annotation)[0] for model in get_args(Probe))


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
