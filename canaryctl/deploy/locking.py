"""The lock of a run: taken on all its hosts before anything is changed, who makes way for it, and who is waited for.

Only one run changes a stack on a host at a time. What the lock is on a host is told in docs/locks.md; hosts/held.py
keeps it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from canaryctl.errors import ApplyError, HostError, LockedError
from canaryctl.evidence.events import has_ended
from canaryctl.facts.lock import LockFacts
from canaryctl.hosts import lock as remote
from canaryctl.hosts.lock import Claim

if TYPE_CHECKING:
    from canaryctl.deploy.context import RunContext

_TTL = 60.0  # seconds that a lock outlives its last renewal
_WAIT_AT_MOST = 1800.0  # seconds
_LOOK_EVERY = 2.0  # seconds between two tries while waiting
# Files are dated by a clock that is a few milliseconds behind the one that is asked for the time.
_CLOCK_STEP = 0.1  # seconds

_COURTESY = 3.0  # seconds, about the time that a deploy takes to look at its hosts


def take(ctx: RunContext, *, host_too: bool = False) -> None:
    """Take the stack's lock on every observed host, with `host_too` that of the whole host besides.

    What the run holds already is left as it is. A host that is lost on the way is noted in `ctx.state.failures`. Hosts
    that may have changed since they were observed are observed again.

    Raises:
        LockedError: somebody else holds it (and went on to hold it, with --wait).
        ApplyError: a host cannot keep a lock.
    """
    request = ctx.deployment.request
    if _take(ctx, host_too, wait=_WAIT_AT_MOST if request.wait else 0, break_lock=request.break_lock):
        ctx.forget_before()
        ctx.observe()


def _take(ctx: RunContext, host_too: bool, *, wait: float, break_lock: bool) -> bool:
    """Take what `take` says; whether the hosts may have changed since they were observed."""
    wanted = _wanted(ctx, host_too)
    if ctx.deployment.request.check or not wanted:
        return False
    locks = ctx.fleet.locks
    first, claim = not locks.paths, _claim(ctx)
    displace: set[str] = set()
    displaced: dict[str, LockFacts] = {}
    waited = _Waiting(ctx, wait)
    while True:
        found, lost = locks.acquire(claim, wanted, displace)
        for seen in (seen for attempt in found.values() for seen in attempt.displaced):
            if displaced.setdefault(seen.mark, seen) is seen:
                _tell_displaced(ctx, seen, seen.mark in displace)
        _forget(ctx, lost)
        wanted = {host: paths for host, paths in wanted.items() if host not in lost}
        refused = {host: attempt.refused for host, attempt in found.items() if attempt.refused}
        if not refused:
            stale = {host for host, attempt in found.items() if attempt.touched > ctx.facts[host].time - _CLOCK_STEP}
            return first and bool(waited.waited_for or displaced or stale)
        more = {seen.mark for seen in refused.values() if break_lock or _is_dead(ctx, seen)} - displace
        displace |= more
        if not more:
            waited.go_on(refused)


def let_others_go_first() -> None:
    """Of two that wait for each other, who has something to change goes first; the other judges what is left."""
    time.sleep(_COURTESY)


def take_to_prune(ctx: RunContext) -> bool:
    """Take the lock of the whole hosts if it is free; False, and a note, where it is not: pruning is not urgent."""
    try:
        _take(ctx, host_too=True, wait=0, break_lock=False)
    except (LockedError, ApplyError) as error:
        ctx.run.note(f"nothing was pruned: {error}")
        return False
    return True


def locked(environment: str, host: str, seen: LockFacts) -> LockedError:
    """The error of who finds a lock."""
    free = f"release it with: canaryctl lock release {environment}" if seen.held else "wait for it with --wait"
    until = f"; it expires at {seen.expires}" if seen.held else ""
    return LockedError(
        f"locked by {seen.words()}{until}",
        host,
        f"{free}; see canaryctl lock status {environment}; or take its place with --break-lock",
    )


class _Waiting:
    """Patience with other holders, as long as the operator has it."""

    def __init__(self, ctx: RunContext, seconds: float) -> None:
        self._ctx = ctx
        self._began = time.monotonic()
        self._seconds = seconds
        self.waited_for = ""

    def go_on(self, refused: Mapping[str, LockFacts]) -> None:
        """Sleep until the next try. Raises LockedError where there is no time left."""
        (host, seen), *_ = refused.items()
        # Images beside what runs are in nobody's way: of two pushes both are to succeed, one after the other.
        pushes = self._ctx.command.adds_only and {h.command for h in refused.values()} == {self._ctx.command.name}
        most = _WAIT_AT_MOST if pushes else self._seconds
        if time.monotonic() - self._began >= most:
            raise locked(self._ctx.deployment.environment.name, ", ".join(refused), seen)
        if seen.mark != self.waited_for:
            self.waited_for = seen.mark
            self._ctx.run.event("lock.waiting", host=host, lock=seen.as_dict(), text=seen.words(), deadline=most)
        time.sleep(_LOOK_EVERY)


def _claim(ctx: RunContext) -> Claim:
    return Claim(
        token=ctx.fleet.locks.token,
        holder=ctx.run.operator,
        environment=ctx.deployment.environment.name,
        command=ctx.command.name,
        message="",
        run=ctx.run.id,
        directory=str(ctx.run.path),
        ttl=_TTL,
        held=False,
    )


def _wanted(ctx: RunContext, host_too: bool) -> dict[str, tuple[str, ...]]:
    """The locks that are still to be taken. Where sudo is refused nothing can be changed, as the plan will say."""
    wanted = {}
    for name, facts in ctx.facts.items():
        host = ctx.deployment.environment.hosts[name]
        paths = (remote.stack_lock(host, ctx.deployment.stack.stack), *((remote.host_lock(host),) if host_too else ()))
        ours = ctx.fleet.locks.paths.get(name, ())
        if facts.become != "refused" and (missing := tuple(path for path in paths if path not in ours)):
            wanted[name] = missing
    return wanted


def _forget(ctx: RunContext, lost: Mapping[str, HostError]) -> None:
    ctx.state.failures |= lost
    for host in lost:
        ctx.facts.pop(host, None)


def _is_dead(ctx: RunContext, seen: LockFacts) -> bool:
    """Whether the lock is of a run of this machine that has ended: it was killed, or lost the host that keeps it."""
    return (
        bool(seen.run)
        and seen.holder == ctx.run.operator
        and Path(seen.directory).name == seen.run
        and has_ended(Path(seen.directory))
    )


def _tell_displaced(ctx: RunContext, seen: LockFacts, on_purpose: bool) -> None:
    if not on_purpose:
        ctx.run.note(f"the lock of {seen.words()} had expired at {seen.expires}")
    elif _is_dead(ctx, seen):
        ctx.run.note(f"the run {seen.run} has ended and left its lock, which this run took over")
    else:
        ctx.run.note(f"--break-lock displaced the lock of {seen.words()}")
