"""The one handle to a command's hosts: their connections, sudo's password, the locks held, how many at once."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

from canaryctl.config.environment import Host
from canaryctl.errors import EXIT_PRECEDENCE, CanaryError, HostError
from canaryctl.hosts.connection import Connection, lost
from canaryctl.hosts.held import HeldLocks
from canaryctl.hosts.ssh import connect, connect_to
from canaryctl.hosts.sudo import password_of
from canaryctl.hosts.target import Dropped, Target

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
AT_ONCE = 32  # hosts worked on at the same time
_LOST_FOR = 30.0  # seconds that a host which could not be reached counts as lost, so that nobody else waits for it
_WORTH_SPARING = 2.0  # seconds: who refuses at once may be asked again at once, as one that is just coming up

# Seconds, about, between tries of a connection that sshd drops before it asks who we are, as it does with who comes
# while too many have not said so yet (MaxStartups).
_DROPPED_PAUSES = (0.3, 0.7, 1.3, 2.0)


class Fleet:
    """Inventory hosts, one connection each: opened when first needed, kept, closed together. Safe in several threads.

    with Fleet(environment.hosts) as fleet:
        fleet.get("canary-1").run("uname -a")

    Attributes:
        hosts: by name.
        locks: what is held on them.
    """

    def __init__(self, hosts: Mapping[str, Host] | Iterable[Host], become_password: str | None = None) -> None:
        listed = hosts.values() if isinstance(hosts, Mapping) else hosts
        self.hosts = {host.name: host for host in listed}
        self.locks = HeldLocks(self)
        self._become_password = become_password
        self._open: dict[str, Connection] = {}
        self._opening: dict[str, threading.Lock] = {}
        self._lost: dict[str, tuple[float, HostError]] = {}
        self._dropped: dict[str, float] = {}
        self._guard = threading.Lock()
        self._closed = False

    def get(self, name: str) -> Connection:
        """The connection to a host, opened or reopened where needed. Raises HostError."""
        host = self.hosts[name]

        def opened() -> Connection:
            connection = connect(host, self._jump)
            connection.inventory = host
            connection.sudo_password = password_of(host, self._become_password)
            return connection

        return self._kept(("host", name), opened)

    def each(
        self, names: Iterable[str], action: Callable[[Connection], T]
    ) -> tuple[dict[str, T], dict[str, HostError]]:
        """Do `action` on hosts, by their names, all at once: results and failures by host name, in the order given.

        A failure that is none of ours is the host's: its answer was one that nobody thought of.

        Raises:
            CanaryError: of another kind than HostError, after all hosts have ended: the one that counts most where
                there are several, with what the others say.
        """
        results, errors = self.at_once(list(names), lambda name: action(self.get(name)))
        if refusals := [error for error in errors.values() if not isinstance(error, HostError)]:
            raise _joined(refusals)
        return results, {name: error for name, error in errors.items() if isinstance(error, HostError)}

    def all(self, names: Iterable[str], action: Callable[[Connection], T]) -> dict[str, T]:
        """The same where every host counts. Raises HostError for the first that was lost."""
        results, failures = self.each(names, action)
        for failure in failures.values():
            raise failure
        return results

    def at_once(self, names: Sequence[str], action: Callable[[str], T]) -> tuple[dict[str, T], dict[str, CanaryError]]:
        """As the function of that name, for work that asks for its connections itself. An interruption closes them."""
        try:
            return at_once(names, action)
        except BaseException:
            self.close()
            raise

    def anew(self, names: Iterable[str]) -> Fleet:
        """Some of the hosts over connections of their own, where these may be closed."""
        return Fleet([self.hosts[name] for name in names], self._become_password)

    def close(self) -> None:
        """Close every connection; those still being opened close themselves."""
        with self._guard:
            self._closed = True
            opened, self._open = list(self._open.values()), {}
        for connection in reversed(opened):  # a jump host was opened before what lies behind it
            with contextlib.suppress(OSError):
                connection.close()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _jump(self, target: Target) -> Connection:
        """The connection to a jump host, shared by all hosts behind it."""
        key = ("jump", target.destination, *target.arguments)
        return self._kept(key, lambda: connect_to(target, self._jump))

    def _kept(self, key: tuple[str, ...], opening: Callable[[], Connection]) -> Connection:
        name = "\0".join(key)
        with self._guard:
            turn = self._opening.setdefault(name, threading.Lock())
        with turn:
            with self._guard:
                kept = self._open.get(name)
            if kept is not None and kept.alive:
                return kept
            if kept is not None and (silent := kept.silent_at or 0.0) > self._lost.get(name, (0.0, None))[0]:
                self._lost[name] = silent, lost(kept.host, "nothing was heard from it")
            made = self._opened(name, opening)
            with self._guard:
                if not self._closed:
                    self._open[name] = made
                    return made
            made.close()
            raise HostError("the connection was closed", made.host, "Run the command again.")

    def _opened(self, name: str, opening: Callable[[], Connection]) -> Connection:
        """A new connection. One that did not come up is not tried again at once: each try is as long a wait."""
        when, failure = self._lost.get(name, (0.0, None))
        if failure is not None and time.monotonic() - when < _LOST_FOR:
            again = HostError(failure.what, failure.where, failure.hint, reason=failure.reason)
            raise again from failure
        began = time.monotonic()
        try:
            return self._insisting(name, opening)
        except Dropped:
            raise
        except HostError as error:
            if time.monotonic() - began > _WORTH_SPARING:
                self._lost[name] = time.monotonic(), error
            raise

    def _insisting(self, name: str, opening: Callable[[], Connection]) -> Connection:
        """A new connection, tried again where sshd drops it; once only where that was of no use a moment ago."""
        pauses = iter(_DROPPED_PAUSES if time.monotonic() - self._dropped.get(name, -_LOST_FOR) >= _LOST_FOR else ())
        while True:
            try:
                return opening()
            except Dropped as error:
                pause = next(pauses, None)
                if pause is None and not error.tried:
                    self._dropped[name] = time.monotonic()
                if pause is None or error.tried or self._closed:
                    error.tried = True
                    raise
            time.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311  so that many do not come together again


def at_once(names: Sequence[str], action: Callable[[str], T]) -> tuple[dict[str, T], dict[str, CanaryError]]:
    """Do `action` for all names at once, AT_ONCE of them at a time: results and errors by name, in the order given.

    An error that is none of ours is the host's of that name: see `unbelievable`. What is no Exception, an interruption
    above all, leaves at once: nobody waits for a host that does not answer.
    """
    results: dict[str, T] = {}
    errors: dict[str, CanaryError] = {}
    stops: list[BaseException] = []
    turns = threading.BoundedSemaphore(AT_ONCE)

    def work(name: str) -> None:
        with turns:
            try:
                results[name] = action(name)
            except CanaryError as error:
                errors[name] = error
            except Exception as error:
                errors[name] = unbelievable(name, error)
            except BaseException as error:
                stops.append(error)

    # Daemons, not an executor, which an interrupted process would wait for.
    threads = [threading.Thread(target=work, args=(name,), name=f"host {name}", daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if stops:
        raise stops[0]
    return (
        {name: results[name] for name in names if name in results},
        {name: errors[name] for name in names if name in errors},
    )


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
