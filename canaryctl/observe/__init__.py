"""Look at hosts, and reach them: facts, evidence, connections. Changes nothing."""

from canaryctl.observe.ask import interpreter
from canaryctl.observe.connection import CommandTimeout, Completed, Connection
from canaryctl.observe.containers import describe as describe_containers
from canaryctl.observe.facts import HostFacts, secrets_mac
from canaryctl.observe.lockfacts import LockFacts, lock_lost
from canaryctl.observe.observation import (
    Observation,
    canary_root,
    collect,
    look_at_mounts,
    observe,
    read_history,
    watch_gpus,
)
from canaryctl.observe.process import LocalConnection
from canaryctl.observe.ssh import Connections, unbelievable

__all__ = [
    "CommandTimeout",
    "Completed",
    "Connection",
    "Connections",
    "HostFacts",
    "LocalConnection",
    "LockFacts",
    "Observation",
    "canary_root",
    "collect",
    "describe_containers",
    "interpreter",
    "lock_lost",
    "look_at_mounts",
    "observe",
    "read_history",
    "secrets_mac",
    "unbelievable",
    "watch_gpus",
]
