"""Open a connection by whatever transport the host's configuration needs: paramiko's, or where it lacks, OpenSSH's."""

from __future__ import annotations

from collections.abc import Callable

from canaryctl.config.environment import Host
from canaryctl.errors import ConfigError
from canaryctl.hosts.connection import Connection
from canaryctl.hosts.target import NeedsOpenSSH, Target, jump_of, target_of


def connect(host: Host, jump: Callable[[Target], Connection] | None = None) -> Connection:
    """Open a connection to an inventory host by whatever transport its configuration needs."""
    kind = str(host.vars.get("ansible_connection") or "ssh").rpartition(".")[2]
    if kind == "local":
        from canaryctl.hosts.process import LocalConnection

        return LocalConnection(host.name)
    if kind not in ("ssh", "smart", "paramiko", "paramiko_ssh"):
        raise ConfigError(f"ansible_connection {kind} is not supported", host.name, "Use ssh or local.")
    transport = str(host.vars.get("canary_transport") or "auto")
    if transport not in ("auto", "openssh"):
        raise ConfigError(f"canary_transport {transport} is unknown", host.name, "Use auto or openssh.")
    return connect_to(target_of(host), jump, openssh=transport == "openssh")


def connect_to(
    target: Target, jump: Callable[[Target], Connection] | None = None, *, openssh: bool = False
) -> Connection:
    """Open a connection to a place that is resolved already. `jump` opens the host on the way. Raises HostError."""
    from canaryctl.hosts.identities import security_key
    from canaryctl.hosts.native import NativeConnection
    from canaryctl.hosts.openssh import OpenSSHConnection

    if not openssh and not target.needs_openssh() and not security_key(target):
        try:
            hop = jump_of(target)
            via = None if hop is None else (jump or connect_to)(hop)
            return NativeConnection(target, via)
        except NeedsOpenSSH:
            pass  # the same configuration, read by the client it was written for
    return OpenSSHConnection(target)
