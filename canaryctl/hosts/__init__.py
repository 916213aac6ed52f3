"""Everything that speaks to a host: connections, host keys, sudo, the lock, the history."""

from canaryctl.hosts.ask import interpreter
from canaryctl.hosts.connection import CommandTimeout, Completed, Connection
from canaryctl.hosts.observation import (
    Observation,
    collect,
    look_at_mounts,
    observe,
    read_history,
    watch_gpus,
)
from canaryctl.hosts.process import LocalConnection
from canaryctl.hosts.ssh import Connections, unbelievable

__all__ = [
    "CommandTimeout",
    "Completed",
    "Connection",
    "Connections",
    "LocalConnection",
    "Observation",
    "collect",
    "interpreter",
    "look_at_mounts",
    "observe",
    "read_history",
    "unbelievable",
    "watch_gpus",
]
