"""Soak: repeat the probes that passed, for a while, and stop at the first that no longer does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.config.probes import Probe, Retried, needed_by
from canaryctl.config.probes.gpu import Gpu
from canaryctl.errors import ConfigError
from canaryctl.probe.context import ProbeContext
from canaryctl.probe.metrics import KEPT, percentile
from canaryctl.probe.results import Exchange, HostResult, ProbeResult, failed
from canaryctl.probe.runner import OnEvent, run_probes

_GRAVITY = {"passed": 0, "skipped": 0, "inconclusive": 1, "failed": 2}
BODY = 2000  # characters of a failing exchange's body that the row keeps


def sampled(probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """The probes that a soak repeats, each tried once a round, without the needs that are not repeated.

    All but lifecycles and what watches these, unless a probe says otherwise; none that takes values from one that is
    not repeated.

    Raises:
        ConfigError: a probe says `soak: true` and takes values from one that is not repeated.
    """
    chosen = {p.name: p for p in probes if (_can_repeat(p) if p.soak is None else p.soak)}
    by_name = {probe.name: probe for probe in probes}
    while lacking := _lacking(chosen, by_name):
        probe, needed = lacking
        if probe.soak:
            raise ConfigError(
                f"probe '{probe.name}' is to be repeated in a soak, but takes values from '{needed}', which is not",
                probe.source("soak"),
                f"write soak: true in '{needed}' too",
            )
        del chosen[probe.name]
    return tuple(_as_sample(probe, chosen) for probe in chosen.values())


def _can_repeat(probe: Probe) -> bool:
    return probe.kind != "lifecycle" and not (isinstance(probe, Gpu) and probe.during)


def _lacking(chosen: dict[str, Probe], by_name: dict[str, Probe]) -> tuple[Probe, str] | None:
    for probe in chosen.values():
        for name in needed_by(probe, tuple(by_name.values())):
            if name not in chosen and by_name[name].saved_names:
                return probe, name
    return None


def _as_sample(probe: Probe, chosen: dict[str, Probe]) -> Probe:
    changes: dict[str, Any] = {"needs": tuple(name for name in probe.needs if name in chosen)}
    if isinstance(probe, Retried):
        changes["eventually"] = 0.0  # patience is for what starts; what runs must answer
    return probe.model_copy(update=changes)


@dataclass
class Tally:
    """What repeating one probe came to. `latencies` are the latest, in milliseconds."""

    samples: int = 0
    failed: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    first_failure: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As a row's `soak` in run.json."""
        known = list(self.latencies)
        return {
            "samples": self.samples,
            "failed": self.failed,
            "p50_ms": percentile(known, 50) if known else None,
            "p95_ms": percentile(known, 95) if known else None,
            "max_ms": max(known) if known else None,
            "first_failure": self.first_failure,
        }


@dataclass
class Soak:
    """A soak under way: repeats `probes` every `every` seconds until `seconds` have passed.

    `stops` says of a sample that is not as it was whether it ends the soak.
    """

    probes: tuple[Probe, ...]
    context: ProbeContext
    seconds: float
    every: float
    deadline: float
    stops: Callable[[ProbeResult], bool]
    rounds: int = 0
    soaked: float = 0.0
    tallies: dict[str, Tally] = field(default_factory=dict)
    broken: dict[str, ProbeResult] = field(default_factory=dict)  # by probe, the worst that became of it
    lost: list[ProbeResult] = field(default_factory=list)  # samples that lost a host

    def run(self, each_round: Callable[[Sequence[ProbeResult]], None], on_event: OnEvent) -> None:
        """Repeat the probes; Ctrl-C leaves what was found so far.

        Args:
            each_round: called with a round's results.
            on_event: called with `soak.started` (probes, seconds, every), `soak.round` (round, after, of, probes:
                name to verdict and milliseconds) and `soak.finished` (rounds, seconds, verdict, reason).
        """
        began = time.monotonic()
        on_event("soak.started", probes=[p.name for p in self.probes], seconds=self.seconds, every=self.every)
        due, stop = 0.0, False
        while not stop and max(due, self.soaked) < self.seconds:
            due = min(max(due, time.monotonic() - began - self.every) + self.every, self.seconds)
            time.sleep(max(began + due - time.monotonic(), 0))
            results = run_probes(self.probes, self.context, deadline=self.deadline)
            self.rounds, self.soaked = self.rounds + 1, time.monotonic() - began
            stop = self.take(results)
            each_round(results)
            found = {r.name: {"verdict": r.verdict, "ms": _slowest(r)} for r in results}
            on_event("soak.round", round=self.rounds, after=round(self.soaked, 1), of=self.seconds, probes=found)
        broken = [result.reason for result in self.broken.values()]
        on_event(
            "soak.finished",
            rounds=self.rounds,
            seconds=round(self.soaked, 1),
            verdict="failed" if stop else "passed",
            reason="; ".join(broken),
        )

    def take(self, results: Sequence[ProbeResult]) -> bool:
        """Count a round in; whether it ends the soak."""
        stop = False
        for result in results:
            tally = self.tallies.setdefault(result.name, Tally())
            if result.verdict == "skipped":  # what it needs says more
                continue
            tally.samples += 1
            tally.latencies.extend(ms for one in result.hosts.values() for ms in one.latencies)
            if result.verdict == "passed":
                continue
            tally.failed += 1
            if tally.first_failure is None:
                tally.first_failure = _failure(result, self.soaked, self.rounds)
            if result.unreachable:
                self.lost.append(result)
            known = self.broken.get(result.name)
            if known is None or _GRAVITY[result.verdict] > _GRAVITY[known.verdict]:
                when = f"after {show_duration(self.soaked)} of soak, in round {self.rounds}"
                self.broken[result.name] = replace(result, reason=f"{when}: {result.reason}")
            stop = stop or self.stops(result)
        return stop

    def applied(self, results: Sequence[ProbeResult]) -> list[ProbeResult]:
        """The rows of the first pass with what the soak found: a probe that broke later has not passed."""
        rows = []
        for row in results:
            if broken := self.broken.get(row.name):
                row = replace(row, verdict=broken.verdict, reason=broken.reason, blame=broken.blame)
            tally = self.tallies.get(row.name)
            rows.append(replace(row, soak=tally.as_dict()) if tally else row)
        return rows

    def as_dict(self) -> dict[str, Any]:
        """run.json's `soak`."""
        return {"seconds": round(self.soaked, 1), "of": self.seconds, "every": self.every, "rounds": self.rounds}


def _failure(result: ProbeResult, after: float, number: int) -> dict[str, Any]:
    others = [(host, one) for host, one in result.hosts.items() if one.outcome.verdict != "passed"]
    host, one = others[0] if others else ("", HostResult(failed(result.reason)))
    return {
        "after": round(after, 1),
        "round": number,
        "host": host,
        "reason": result.reason,
        "exchange": _shown(one.exchanges[-1]) if one.exchanges else None,
    }


def _shown(exchange: Exchange) -> dict[str, Any]:
    return vars(exchange) | {"sent": exchange.sent[:BODY], "body": exchange.body[:BODY]}


def _slowest(result: ProbeResult) -> float | None:
    return max((ms for one in result.hosts.values() for ms in one.latencies), default=None)
