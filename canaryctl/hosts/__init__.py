"""Everything that speaks to a host: connections, host keys, sudo, the lock, the history."""

from canaryctl.hosts.ask import interpreter
from canaryctl.hosts.connection import CommandTimeout, Completed, Connection
from canaryctl.hosts.fleet import Fleet, at_once
from canaryctl.hosts.observation import (
    Observation,
    collect,
    look_at_mounts,
    observe,
    read_history,
    watch_gpus,
)
from canaryctl.hosts.process import LocalConnection

__all__ = [
    "CommandTimeout",
    "Completed",
    "Connection",
    "Fleet",
    "LocalConnection",
    "Observation",
    "at_once",
    "collect",
    "interpreter",
    "look_at_mounts",
    "observe",
    "read_history",
    "watch_gpus",
]
