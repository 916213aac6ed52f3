"""The connections of one command: one per host, opened when first needed, kept, closed together."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

from canaryctl.config.environment import Host
from canaryctl.errors import EXIT_PRECEDENCE, CanaryError, ConfigError, HostError
from canaryctl.hosts.connection import CommandTimeout, Completed, Connection
from canaryctl.hosts.sudo import password_of
from canaryctl.hosts.target import NeedsOpenSSH, Target, jump_of, target_of

__all__ = ["CommandTimeout", "Completed", "Connection", "Connections", "connect"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
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
            connection.inventory = host
            connection.sudo_password = password_of(host, self._become_password)
            return connection

        return self._kept(("host", name), opened)

    def each(
        self, hosts: Iterable[Host | str], action: Callable[[Connection], T]
    ) -> tuple[dict[str, T], dict[str, HostError]]:
        """Do `action` on all hosts at once: results and failures by host name, in the order given.

        A failure that is none of ours is the host's: its answer was one that nobody thought of.

        Raises:
            CanaryError: of another kind than HostError, after all hosts have ended: the one that counts most where
                there are several, with what the others say.
        """
        names = [host if isinstance(host, str) else host.name for host in hosts]
        results: dict[str, T] = {}
        failures: dict[str, HostError] = {}
        refusals: list[CanaryError] = []
        stops: list[BaseException] = []
        turns = threading.BoundedSemaphore(_AT_ONCE)

        def work(name: str) -> None:
            with turns:
                try:
                    results[name] = action(self.get(name))
                except HostError as error:
                    failures[name] = error
                except CanaryError as error:
                    refusals.append(error)
                except Exception as error:
                    failures[name] = unbelievable(name, error)
                except BaseException as error:
                    stops.append(error)

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
        if stops:
            raise stops[0]
        if refusals:
            raise _joined(refusals)
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


def unbelievable(host: str, error: Exception) -> HostError:
    """What came up while a host's answer was dealt with, as that host's failure; `error` stays its cause."""
    failure = HostError(
        f"what it answers cannot be dealt with ({type(error).__name__}: {str(error)[:300]})",
        host,
        "Look at the host: it answers what a healthy one does not. -vv shows where it came up.",
        reason="agent",
    )
    failure.__cause__ = error
    _LOG.debug("%s: %s", host, error, exc_info=error)
    return failure


def _joined(refusals: Sequence[CanaryError]) -> CanaryError:
    """The error whose exit code wins, the words of the others behind its own."""
    first, *others = sorted(refusals, key=lambda error: EXIT_PRECEDENCE.index(error.exit_code))
    more = dict.fromkeys(f"{other.where}: {other.what}" for other in others)
    first.what = "; ".join([first.what, *(text for text in more if text != f"{first.where}: {first.what}")])
    return first


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
    return _connect(target_of(host), jump, openssh=transport == "openssh")


def connect_to(target: Target) -> Connection:
    """Open a connection to a place that is resolved already: a jump host. Raises HostError."""
    return _connect(target)


def _connect(
    target: Target, jump: Callable[[Target], Connection] | None = None, *, openssh: bool = False
) -> Connection:
    from canaryctl.hosts.identities import security_key
    from canaryctl.hosts.native import NativeConnection
    from canaryctl.hosts.openssh import OpenSSHConnection

    if not openssh and not target.needs_openssh() and not security_key(target):
        try:
            hop = jump_of(target)
            via = None if hop is None else (jump or _connect)(hop)
            return NativeConnection(target, via)
        except NeedsOpenSSH:
            pass  # the same configuration, read by the client it was written for
    return OpenSSHConnection(target)
