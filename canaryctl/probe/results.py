"""What probes found: exchanges, outcomes per host, one result a probe, and the verdict over all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["passed", "failed", "inconclusive", "skipped"]
Blame = Literal["system", "probe"]
_WORST_FIRST: tuple[Verdict, ...] = ("failed", "inconclusive", "passed", "skipped")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. `status` is an HTTP status or an exit code; `times` counts identical repeats.

    `at` is when it began, in seconds after its probe did; `ms` how long it took.
    """

    what: str
    method: str
    url: str
    at: float = 0.0
    ms: float = 0.0
    status: int | None = None
    sent: str = ""
    body: str = ""
    truncated: bool = False
    error: str = ""
    times: int = 1

    def repeats(self, other: Exchange) -> bool:
        """Whether `other` says the same at another time."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("what", "method", "url", "status", "sent", "body", "error")
        )


@dataclass(frozen=True)
class Outcome:
    """What one attempt, or one host, came to."""

    verdict: Verdict
    reason: str = ""
    blame: Blame | None = None


def passed(reason: str = "") -> Outcome:
    """It held."""
    return Outcome("passed", reason)


def failed(reason: str) -> Outcome:
    """The system under test did not do what was expected."""
    return Outcome("failed", reason, "system")


def inconclusive(reason: str) -> Outcome:
    """The probe's own data or definition is wrong: it cannot judge."""
    return Outcome("inconclusive", reason, "probe")


def unjudged(error: Exception) -> Outcome:
    """What the system under test said broke what was to judge it: that is how it failed."""
    text = " ".join(str(error).split())
    return failed(f"its answer cannot be judged: {type(error).__name__}" + (f": {text[:200]}" if text else ""))


class Unanswered(Exception):  # noqa: N818  an outcome, not a fault of ours
    """No usable answer: refused, late, closed, host lost. `lost` when the SSH host itself is gone."""

    def __init__(self, reason: str, *, lost: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.lost = reason, lost


class Unusable(Exception):  # noqa: N818
    """The probe's own definition cannot be used: bad URL, bad header, an expression that does not compile."""


@dataclass(frozen=True)
class HostResult:
    """One probe on one host. `latencies` are those of its answered requests, in milliseconds.

    `found` is what it measured, where its kind measures more than time.
    """

    outcome: Outcome
    attempts: int = 0
    seconds: float = 0.0
    exchanges: tuple[Exchange, ...] = ()
    saved: dict[str, Any] = field(default_factory=dict)
    lost: bool = False
    latencies: tuple[float, ...] = ()
    flaky: bool = False
    found: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProbeResult:
    """One row: a probe over all its hosts. `unreachable` names hosts that SSH lost.

    `gates`: whether the verdict counts. `soak`: what repeating it came to, where it was repeated.
    """

    name: str
    kind: str
    verdict: Verdict
    reason: str
    blame: Blame | None = None
    attempts: int = 0
    seconds: float = 0.0
    hosts: dict[str, HostResult] = field(default_factory=dict)
    gates: bool = True
    soak: dict[str, Any] | None = None

    @property
    def flaky(self) -> bool:
        """Whether it passed, on some host only after more failed attempts than the probe allows."""
        return self.verdict == "passed" and any(result.flaky for result in self.hosts.values())

    @property
    def unreachable(self) -> tuple[str, ...]:
        """Hosts that could not be reached over SSH while this probe ran."""
        return tuple(name for name, result in self.hosts.items() if result.lost)

    @property
    def saved(self) -> dict[str, Any]:
        """Values kept for other probes: those of the first host that has any."""
        return next((result.saved for result in self.hosts.values() if result.saved), {})

    def as_dict(self) -> dict[str, Any]:
        """The row of run.json, ready for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "verdict": self.verdict,
            "reason": self.reason,
            "blame": self.blame,
            "attempts": self.attempts,
            "flaky": self.flaky,
            "seconds": round(self.seconds, 3),
            "gates": self.gates,
            "soak": self.soak,
            "hosts": {
                host: {
                    "verdict": one.outcome.verdict,
                    "reason": one.outcome.reason,
                    "blame": one.outcome.blame,
                    "attempts": one.attempts,
                    "flaky": one.flaky,
                    "seconds": round(one.seconds, 3),
                    "reachable": not one.lost,
                    **({"found": one.found} if one.found else {}),
                }
                for host, one in self.hosts.items()
            },
            "exchanges": [{"host": host, **asdict(e)} for host, one in self.hosts.items() for e in one.exchanges],
            "saved": self.saved,
        }


def skipped(name: str, kind: str, reason: str) -> ProbeResult:
    """A probe that did not run."""
    return ProbeResult(name, kind, "skipped", reason)


def over_hosts(name: str, kind: str, hosts: dict[str, HostResult], seconds: float) -> ProbeResult:
    """One row from the hosts' results: the worst verdict, and who says so where there are several."""
    worst = min((one.outcome.verdict for one in hosts.values()), key=_WORST_FIRST.index)
    saying = {host: one for host, one in hosts.items() if one.outcome.verdict == worst}
    reasons = [
        one.outcome.reason if len(hosts) == 1 else f"{host}: {one.outcome.reason}" for host, one in saying.items()
    ]
    return ProbeResult(
        name,
        kind,
        worst,
        "; ".join(reasons),
        next(iter(saying.values())).outcome.blame,
        max(one.attempts for one in hosts.values()),
        seconds,
        hosts,
    )
