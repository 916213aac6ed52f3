"""The locks that one command holds on its hosts: taken all or none, kept alive, given up together."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from canaryctl.agent.read.held import digest_of
from canaryctl.errors import HostError, LockedError
from canaryctl.facts.lock import LockFacts, lock_lost
from canaryctl.hosts import lock
from canaryctl.hosts.connection import Connection
from canaryctl.hosts.lock import Attempt, Claim

_LAST_RENEWAL = 0.5  # seconds that a release waits for a renewal under way
_RELEASES = 15.0  # seconds that a release waits for all hosts together

T = TypeVar("T")


class Hosts(Protocol):
    """What locks need of a fleet: see fleet.py."""

    def each(
        self, names: Iterable[str], action: Callable[[Connection], T]
    ) -> tuple[dict[str, T], dict[str, HostError]]:
        """Do `action` on hosts at once."""

    def anew(self, names: Iterable[str]) -> contextlib.AbstractContextManager[Hosts]:
        """Some of the hosts over connections of their own."""


class HeldLocks:
    """Locks by host, all under one token; safe to use from several threads.

    Attributes:
        fleet: whose hosts they are on.
        token: what claims of them carry; a secret.
        paths: of the locks that are held, by host.
    """

    def __init__(self, fleet: Hosts) -> None:
        self.fleet = fleet
        self.token = secrets.token_hex(16)
        self.paths: dict[str, tuple[str, ...]] = {}
        self._asked: dict[str, tuple[str, ...]] = {}  # a lock may be ours though its answer never came
        self._lost: LockedError | None = None
        self._over = threading.Event()
        self._renewer: threading.Thread | None = None

    def acquire(
        self, claim: Claim, wanted: Mapping[str, Sequence[str]], displace: Collection[str] = ()
    ) -> tuple[dict[str, Attempt], dict[str, HostError]]:
        """One try on all hosts: what came of it, and the hosts that were lost. All or none of `wanted` is ours then.

        Args:
            claim: under our token; its `ttl` bounds how long the locks outlive this process.
            wanted: paths of locks, by host.
            displace: marks of the locks that make way.
        """
        _join(self._asked, wanted)
        found, lost = self._each(wanted, lambda connection, paths: lock.acquire(connection, paths, claim, displace))
        if any(attempt.refused for attempt in found.values()):
            self._each({host: wanted[host] for host, attempt in found.items() if not attempt.refused}, self._give_up)
            return found, lost
        _join(self.paths, {host: wanted[host] for host in found})
        if self._renewer is None:
            self._renewer = threading.Thread(target=self._keep_alive, args=(claim.ttl / 3,), name="lock", daemon=True)
            self._renewer.start()
        return found, lost

    def require_held(self) -> None:
        """Renew now, and stop a command that does not hold its locks any more.

        Raises:
            LockedError: names who holds one now.
        """
        if not self._lost:
            self._renew()
        if self._lost:
            raise self._lost

    def held_on(self, host: str) -> list[dict[str, str]]:
        """What is checked on a host before each change there: `path` and `owner` of every lock. No secret."""
        return [{"path": path, "owner": digest_of(self.token)} for path in self.paths.get(host, ())]

    def release(self, seconds: float = _RELEASES) -> None:
        """Give up everything, in about so many seconds. On a host that cannot be reached a lock expires by itself."""
        self._over.set()
        if self._renewer is not None:
            self._renewer.join(min(_LAST_RENEWAL, seconds))
        if self._asked:
            releasing = threading.Thread(target=self._release, name="locks", daemon=True)
            releasing.start()
            releasing.join(seconds)

    def _release(self) -> None:
        with contextlib.suppress(Exception):  # a host's odd answer keeps no lock on the others, and hides no error
            _, lost = self._each(self._asked, self._give_up)
            if lost:  # an interruption closes a run's connections
                with self.fleet.anew(lost) as anew:
                    anew.each(lost, lambda connection: self._give_up(connection, self._asked[connection.host]))

    def _give_up(self, connection: Connection, paths: Sequence[str]) -> tuple[LockFacts, ...]:
        return lock.release(connection, paths, self.token)

    def _each(
        self, paths: Mapping[str, Sequence[str]], action: Callable[[Connection, Sequence[str]], T]
    ) -> tuple[dict[str, T], dict[str, HostError]]:
        return self.fleet.each(list(paths), lambda connection: action(connection, paths[connection.host]))

    def _keep_alive(self, every: float) -> None:
        while not self._over.wait(every) and not self._lost:
            with contextlib.suppress(Exception):  # whatever a host answers: the lock of the others must live on
                self._renew()

    def _renew(self) -> None:
        """A host that does not answer is no loss of the lock: nothing can be changed there either."""

        def renew(connection: Connection, paths: Sequence[str]) -> dict[str, dict[str, Any] | None]:
            return lock.renew(connection, paths, self.token)

        found, _ = self._each(dict(self.paths), renew)
        for host, lost in found.items():
            for holder in lost.values():
                self._lost = self._lost or lock_lost(host, holder)


def _join(known: dict[str, tuple[str, ...]], more: Mapping[str, Sequence[str]]) -> None:
    for host, paths in more.items():
        known[host] = tuple(dict.fromkeys((*known.get(host, ()), *paths)))
