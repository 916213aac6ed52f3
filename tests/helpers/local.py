"""This machine as a host of an inventory, reached by its own shell."""

from __future__ import annotations

from pathlib import Path

from canaryctl.config.environment import Host
from canaryctl.hosts import LocalConnection


def local_host(name: str = "here", root: Path | str = "/opt/canaryctl") -> Host:
    """Everything of ours is in `root`, and nobody asks for root's rights."""
    return Host(name, (), {"ansible_connection": "local", "canary_root": str(root), "ansible_become": False})


def local(name: str = "here", root: Path | str = "/opt/canaryctl") -> LocalConnection:
    """A connection to `local_host`."""
    connection = LocalConnection(name)
    connection.inventory = local_host(name, root)
    return connection
