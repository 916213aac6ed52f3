"""One probe on one host while it runs: its names, its clock, what it has exchanged so far."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from canaryctl.config.durations import show_duration
from canaryctl.config.probes import Retried
from canaryctl.errors import CanaryError
from canaryctl.probe.context import Connection, ProbeContext
from canaryctl.probe.results import Exchange, Outcome, Unanswered, Unusable, failed, unjudged
from canaryctl.probe.templates import is_moved, rendered, uses_any

KEPT = 64 * 1024  # characters of one body that evidence keeps
KEPT_IN_ALL = 1024 * 1024  # of all bodies of one probe on one host; a long poll keeps excerpts after that
EXCERPT = 512
TIMED = 10_000  # latest latencies kept of one probe on one host
_NOT_TIMED = ("precondition", "cleanup")  # not what the probe is about

T = TypeVar("T")
P = TypeVar("P", bound=Retried)


@dataclass
class Scope:
    """The state of one probe on one host. `deadline` and `began` are on the `time.monotonic()` clock.

    `noticed` is told of every failed attempt that another follows. `stage_of` another probe: '' before it has begun,
    `running`, or its verdict. `found` is what the kind measured, for the record. `given` are the names whose values an
    application gave, beside what is saved, and `depends` whether one is in what was rendered last; `foreign` the
    rendered URLs and addresses whose host such a value decided.
    """

    context: ProbeContext
    host: str
    names: dict[str, Any]
    deadline: float
    stop: threading.Event
    noticed: Callable[[int, str], None] = lambda attempts, reason: None
    stage_of: Callable[[str], str] = lambda name: ""
    began: float = field(default_factory=time.monotonic)
    attempts: int = 0
    saved: dict[str, Any] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    lost: bool = False
    depends: bool = False
    given: frozenset[str] = frozenset()
    foreign: set[str] = field(default_factory=set)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=TIMED))
    _kept: int = 0

    def render(self, value: T) -> T:
        """Render the templates in a part of the probe with this host's names and what was saved so far."""
        return self.render_with(value, {})

    def render_with(self, value: T, names: dict[str, Any]) -> T:
        """The same with names of its own before all others, whose values an application gave."""
        every = {**self.names, **self.saved, **names}
        given = {*self.given, *self.saved, *names}
        self.depends = uses_any(value, given)
        try:
            whole = rendered(value, every)
        except Unusable as error:
            raise self.blamed(error) from None
        for key in ("url", "address"):
            place = getattr(value, key, None)
            if isinstance(place, str) and is_moved(place, every, given):
                self.foreign.add(getattr(whole, key))
        return whole

    def blamed(self, error: Unusable) -> Unusable | Unanswered:
        """What a request that cannot be made is: the probe's fault, or the application's where its values went in."""
        return Unanswered(f"what the application gave cannot be used: {error}") if self.depends else error

    def connection(self) -> Connection:
        """The SSH connection to this host."""
        return self.context.connections.get(self.host)

    @property
    def sudo(self) -> bool:
        """Whether Docker needs sudo on this host."""
        return self.context.sudo.get(self.host, False)

    @property
    def python(self) -> str:
        """This host's own Python."""
        return self.context.python.get(self.host, "python3")

    def now(self) -> float:
        """The time on this host's clock, in epoch seconds."""
        return time.time() + self.context.clock_skew.get(self.host, 0.0)

    def ends(self, timeout: float) -> float:
        """When something that may take `timeout` seconds must end."""
        return min(time.monotonic() + timeout, self.deadline)

    def wait(self, seconds: float) -> bool:
        """Sleep; False when the set of probes was stopped or its deadline came."""
        left = self.deadline - time.monotonic()
        return not self.stop.wait(max(min(seconds, left), 0)) and left > seconds

    def record(self, exchange: Exchange, began: float) -> None:
        """Keep an exchange as evidence: scrubbed, bounded, and once where it only repeats the one before.

        Args:
            began: when it did, by the monotonic clock; it ends now.
        """
        ms = round((time.monotonic() - began) * 1000, 1)
        if not exchange.error and exchange.what not in _NOT_TIMED:
            self.latencies.append(ms)
        room = KEPT if self._kept < KEPT_IN_ALL else EXCERPT
        scrub = self.context.scrub
        # Scrubbing comes before cutting, or a secret cut in two would stay.
        body = scrub(exchange.body)
        kept = replace(
            exchange,
            url=scrub(exchange.url),
            sent=scrub(exchange.sent)[:KEPT],
            body=body[:room],
            truncated=exchange.truncated or len(body) > room,
            error=scrub(exchange.error),
            at=round(began - self.began, 3),
            ms=ms,
        )
        if self.exchanges and self.exchanges[-1].repeats(kept):
            self.exchanges[-1] = replace(self.exchanges[-1], times=self.exchanges[-1].times + 1)
            return
        self._kept += len(kept.body)
        self.exchanges.append(kept)

    def elapsed(self) -> float:
        """Seconds since the probe began here."""
        return time.monotonic() - self.began


def until_passed(probe: P, scope: Scope, attempt: Callable[[P, Scope], Outcome]) -> Outcome:
    """Attempt, and while that fails attempt again until `eventually` has passed. Inconclusive ends it at once."""
    ends = time.monotonic() + probe.eventually
    while True:
        scope.attempts += 1
        try:
            outcome = attempt(probe, scope)
            scope.lost = False
        except Unanswered as error:
            outcome, scope.lost = failed(error.reason), error.lost
        except (Unusable, CanaryError):
            raise
        except Exception as error:
            outcome = unjudged(error)
        if outcome.verdict != "failed":
            return outcome
        again = time.monotonic() + probe.every <= ends
        if again:
            scope.noticed(scope.attempts, outcome.reason)
        if not again or not scope.wait(probe.every):
            if scope.attempts > 1:
                tried = f" ({scope.attempts} attempts in {show_duration(scope.elapsed())})"
                return replace(outcome, reason=outcome.reason + tried)
            return outcome
