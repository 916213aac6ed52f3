"""The connections of one command: one per host, opened when first needed, kept, closed together."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TypeVar

from canaryctl.config.environment import Host
from canaryctl.errors import ConfigError, HostError
from canaryctl.observe.connection import CommandTimeout, Completed, Connection
from canaryctl.observe.sudo import password_of
from canaryctl.observe.target import NeedsOpenSSH, Target, jump_of, target_of

__all__ = ["CommandTimeout", "Completed", "Connection", "Connections", "connect"]

T = TypeVar("T")

_AT_ONCE = 32  # hosts worked on at the same time


class Connections:
    """A pool over inventory hosts, safe to use from several threads.

    with Connections(environment.hosts) as connections:
        connections.get("canary-1").run("uname -a")
    """

    def __init__(self, hosts: Mapping[str, Host] | Iterable[Host], become_password: str | None = None) -> None:
        listed = hosts.values() if isinstance(hosts, Mapping) else hosts
        self._hosts = {host.name: host for host in listed}
        self._become_password = become_password
        self._open: dict[str, Connection] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._closed = False

    def get(self, name: str) -> Connection:
        """The connection to a host, opened or reopened where needed. Raises HostError."""
        host = self._hosts[name]

        def opened() -> Connection:
            connection = connect(host, self._jump)
            connection.sudo_password = password_of(host, self._become_password)
            return connection

        return self._kept(("host", name), opened)

    def each(
        self, hosts: Iterable[Host | str], action: Callable[[Connection], T]
    ) -> tuple[dict[str, T], dict[str, HostError]]:
        """Do `action` on all hosts at once: results and failures by host name, in the order given.

        An exception other than HostError is raised here, after the others have ended.
        """
        names = [host if isinstance(host, str) else host.name for host in hosts]
        results: dict[str, T] = {}
        failures: dict[str, HostError] = {}
        bugs: list[BaseException] = []
        turns = threading.BoundedSemaphore(_AT_ONCE)

        def work(name: str) -> None:
            with turns:
                try:
                    results[name] = action(self.get(name))
                except HostError as error:
                    failures[name] = error
                except BaseException as error:
                    bugs.append(error)

        # Daemons, not an executor: on Ctrl-C nobody waits for a host that does not answer.
        threads = [threading.Thread(target=work, args=(name,), name=f"host {name}", daemon=True) for name in names]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            self.close()
            raise
        if bugs:
            raise bugs[0]
        return (
            {name: results[name] for name in names if name in results},
            {name: failures[name] for name in names if name in failures},
        )

    def close(self) -> None:
        """Close every connection; those still being opened close themselves."""
        with self._guard:
            self._closed = True
            opened, self._open = list(self._open.values()), {}
        for connection in reversed(opened):  # a jump host was opened before what lies behind it
            with contextlib.suppress(OSError):
                connection.close()

    def __enter__(self) -> Connections:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _jump(self, target: Target) -> Connection:
        """The connection to a jump host, shared by all hosts behind it."""
        key = ("jump", target.destination, *target.arguments)
        return self._kept(key, lambda: _connect(target, self._jump))

    def _kept(self, key: tuple[str, ...], opening: Callable[[], Connection]) -> Connection:
        name = "\0".join(key)
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            with self._guard:
                kept = self._open.get(name)
            if kept is not None and kept.alive:
                return kept
            made = opening()
            with self._guard:
                if not self._closed:
                    self._open[name] = made
                    return made
            made.close()
            raise HostError("the connection was closed", made.host, "Run the command again.")


def connect(host: Host, jump: Callable[[Target], Connection] | None = None) -> Connection:
    """Open a connection to an inventory host by whatever transport its configuration needs."""
    kind = str(host.vars.get("ansible_connection") or "ssh").rpartition(".")[2]
    if kind == "local":
        from canaryctl.observe.process import LocalConnection

        return LocalConnection(host.name)
    if kind not in ("ssh", "smart", "paramiko", "paramiko_ssh"):
        raise ConfigError(f"ansible_connection {kind} is not supported", host.name, "Use ssh or local.")
    transport = str(host.vars.get("canary_transport") or "auto")
    if transport not in ("auto", "openssh"):
        raise ConfigError(f"canary_transport {transport} is unknown", host.name, "Use auto or openssh.")
    return _connect(target_of(host), jump, openssh=transport == "openssh")


def connect_to(target: Target) -> Connection:
    """Open a connection to a place that is resolved already: a jump host. Raises HostError."""
    return _connect(target)


def _connect(
    target: Target, jump: Callable[[Target], Connection] | None = None, *, openssh: bool = False
) -> Connection:
    from canaryctl.observe.identities import security_key
    from canaryctl.observe.native import NativeConnection
    from canaryctl.observe.openssh import OpenSSHConnection

    if not openssh and not target.needs_openssh() and not security_key(target):
        try:
            hop = jump_of(target)
            via = None if hop is None else (jump or _connect)(hop)
            return NativeConnection(target, via)
        except NeedsOpenSSH:
            pass  # the same configuration, read by the client it was written for
    return OpenSSHConnection(target)
