"""Run a set of probes: independent ones at once, each after what it needs, all by one deadline."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.config.probes import Probe, Retried, needed_by
from canaryctl.errors import CanaryError, HostError
from canaryctl.hosts.connection import is_lost
from canaryctl.probe.check import check_probes
from canaryctl.probe.context import ProbeContext
from canaryctl.probe.kinds import RUN
from canaryctl.probe.lifecycle import CLEANUP
from canaryctl.probe.names import own_names
from canaryctl.probe.results import (
    HostResult,
    Outcome,
    ProbeResult,
    Unanswered,
    Unusable,
    failed,
    inconclusive,
    over_hosts,
    skipped,
    unjudged,
)
from canaryctl.probe.scope import Scope

AT_ONCE = 8  # probes on one host at a time: sshd allows ten sessions a connection by default
LONGEST = 8000  # characters of a reason
_GRACE = CLEANUP + 2.0  # seconds after the deadline for lifecycles to clean up
_INTERRUPTED = 4.0  # the same where somebody waits for the end

OnEvent = Callable[..., None]


@dataclass
class _Set:
    """The probes under way. Results are written by their threads and read by the caller's."""

    probes: tuple[Probe, ...]
    context: ProbeContext
    deadline: float
    stop: threading.Event = field(default_factory=threading.Event)
    news: queue.SimpleQueue[tuple[str, dict[str, Any]]] = field(default_factory=queue.SimpleQueue)
    results: dict[str, ProbeResult] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    done: dict[str, threading.Event] = field(default_factory=dict)
    slots: dict[str, threading.BoundedSemaphore] = field(default_factory=dict)
    crashes: list[BaseException] = field(default_factory=list)


def run_probes(
    probes: Sequence[Probe],
    context: ProbeContext,
    *,
    deadline: float,
    on_event: OnEvent = lambda type, **data: None,
) -> list[ProbeResult]:
    """Run probes and return one result each, in their order.

    Args:
        deadline: seconds for the whole set; what is not done by then fails.
        on_event: called in the caller's thread with `probe.started` (name, kind, hosts), `probe.attempt` (name, host,
            attempt, reason; a failed attempt of one that is tried again) and `probe.finished` (name, kind, verdict,
            reason, blame, attempts, flaky, seconds).

    Raises:
        ConfigError: a probe is on no known group or service, or a template uses an undefined name; nothing ran.
        KeyboardInterrupt: after the probes were told to stop and lifecycles had a few seconds to cancel.
    """
    probes = tuple(probes)
    check_probes(probes, context)
    state = _Set(probes, context, time.monotonic() + deadline)
    state.done = {probe.name: threading.Event() for probe in probes}
    hosts = {host for probe in probes for host in _hosts(probe, context)}
    state.slots = {host: threading.BoundedSemaphore(AT_ONCE) for host in hosts}
    threads = [threading.Thread(target=_one, args=(probe, state), daemon=True, name=probe.name) for probe in probes]
    for thread in threads:
        thread.start()
    try:
        _relay(state, on_event, state.deadline + _GRACE)
    except BaseException:
        state.stop.set()
        ends = time.monotonic() + _INTERRUPTED
        for thread in threads:
            thread.join(max(ends - time.monotonic(), 0))
        raise
    if state.crashes:
        raise state.crashes[0]
    for probe in probes:
        if probe.name not in state.results:
            late = failed(f"did not end within the {show_duration(deadline)} that all probes have together")
            row = ProbeResult(probe.name, probe.kind, late.verdict, late.reason, late.blame, seconds=deadline)
            state.results[probe.name] = row
            on_event("probe.finished", **_finished(row))
    return [state.results[probe.name] for probe in probes]


def _relay(state: _Set, on_event: OnEvent, ends: float) -> None:
    """Hand events on until every probe is done. Short waits let Ctrl-C in."""
    open_ = {probe.name for probe in state.probes}
    while open_ and time.monotonic() < ends and not state.crashes:
        try:
            kind, data = state.news.get(timeout=0.2)
        except queue.Empty:
            continue
        on_event(kind, **data)
        if kind == "probe.finished":
            open_.discard(data["name"])


def _finished(result: ProbeResult) -> dict[str, Any]:
    row = result.as_dict()
    return {key: row[key] for key in ("name", "kind", "verdict", "reason", "blame", "attempts", "flaky", "seconds")}


def _hosts(probe: Probe, context: ProbeContext) -> tuple[str, ...]:
    return context.hosts_of(probe.on, service=probe.on_service)


def _one(probe: Probe, state: _Set) -> None:
    """The thread of one probe."""
    try:
        result = _result(probe, state)
    except BaseException as error:  # raised again in the caller's thread
        state.crashes.append(error)
        return
    state.results[probe.name] = result
    state.done[probe.name].set()
    state.news.put(("probe.finished", _finished(result)))


def _result(probe: Probe, state: _Set) -> ProbeResult:
    for name in probe.needs:
        while not state.done[name].wait(0.5):
            if state.stop.is_set() or time.monotonic() > state.deadline + _GRACE:
                return skipped(probe.name, probe.kind, f"needs '{name}', which did not end in time")
        needed = state.results[name]
        if needed.verdict != "passed":
            was = {"failed": "failed", "inconclusive": "is inconclusive"}.get(needed.verdict, "was skipped")
            return skipped(probe.name, probe.kind, f"needs '{name}', which {was}")
    hosts = _hosts(probe, state.context)
    if not hosts:
        left_out = " that this run may touch" if state.context.limit is not None else ""
        return skipped(probe.name, probe.kind, f"'{probe.on}' has no hosts{left_out}")
    state.begun.add(probe.name)
    state.news.put(("probe.started", {"name": probe.name, "kind": probe.kind, "hosts": list(hosts)}))
    began = time.monotonic()
    found: dict[str, HostResult] = {}
    if len(hosts) == 1:
        found[hosts[0]] = _on_host(probe, hosts[0], state)
    else:
        _on_hosts(probe, hosts, state, found)
    return over_hosts(probe.name, probe.kind, found, time.monotonic() - began)


def _on_hosts(probe: Probe, hosts: tuple[str, ...], state: _Set, found: dict[str, HostResult]) -> None:
    """One thread a host; a host whose thread is not back in time has failed."""
    results: dict[str, HostResult] = {}

    def work(host: str) -> None:
        try:
            results[host] = _on_host(probe, host, state)
        except BaseException as error:  # raised again in the caller's thread
            state.crashes.append(error)

    threads = {host: threading.Thread(target=work, args=(host,), daemon=True) for host in hosts}
    for thread in threads.values():
        thread.start()
    for host, thread in threads.items():
        thread.join(max(state.deadline + _GRACE - 0.5 - time.monotonic(), 0))
        found[host] = results.get(host, HostResult(failed("did not end by the deadline"), 1))


def _on_host(probe: Probe, host: str, state: _Set) -> HostResult:
    names = {**state.context.names_on(host), **own_names(probe, state.context, host), **probe.vars}
    needs = needed_by(probe, state.probes)
    given: dict[str, Any] = {}
    for needed in (state.results[other.name] for other in state.probes if other.name in needs):
        given.update(needed.hosts[host].saved if host in needed.hosts else needed.saved)
    names.update(given)
    while not state.slots[host].acquire(timeout=0.5):
        if state.stop.is_set() or time.monotonic() >= state.deadline:
            return HostResult(failed("the deadline came before its turn"))

    def noticed(attempt: int, reason: str) -> None:
        state.news.put(("probe.attempt", {"name": probe.name, "host": host, "attempt": attempt, "reason": reason}))

    def stage_of(name: str) -> str:
        if name in state.results:
            return state.results[name].verdict
        return "running" if name in state.begun else ""

    scope = Scope(state.context, host, names, state.deadline, state.stop, noticed, stage_of, given=frozenset(given))
    try:
        outcome = _judge(probe, scope)
    finally:
        state.slots[host].release()
    return HostResult(
        Outcome(outcome.verdict, shortened(state.context.scrub(outcome.reason)), outcome.blame),
        scope.attempts,
        scope.elapsed(),
        tuple(scope.exchanges),
        dict(scope.saved),
        scope.lost,
        tuple(scope.latencies),
        outcome.verdict == "passed" and is_flaky(probe, scope.attempts),
        dict(scope.found),
    )


def shortened(reason: str) -> str:
    """A reason as it is told: an application may register a thousand faulty workers."""
    return reason if len(reason) <= LONGEST else reason[: LONGEST - 4] + " ..."


def is_flaky(probe: Probe, attempts: int) -> bool:
    """Whether a pass at the last of so many attempts came after more failures than the probe allows."""
    return isinstance(probe, Retried) and probe.retries is not None and attempts - 1 > probe.retries


def _judge(probe: Probe, scope: Scope) -> Outcome:
    if scope.stop.is_set() or time.monotonic() >= scope.deadline:
        return failed("the deadline came before its turn")
    try:
        return RUN[probe.kind](probe, scope)
    except Unanswered as error:
        scope.lost = error.lost
        return failed(error.reason)
    except HostError as error:
        scope.lost = is_lost(error)
        where = error.where or scope.host
        reached = error.reason == "agent" or not scope.lost
        return failed(f"{where}: {error.what}" if reached else f"{where} cannot be reached over SSH: {error.what}")
    except Unusable as error:
        return inconclusive(f"the probe cannot be used: {error}")
    except CanaryError:
        raise
    except Exception as error:  # whatever it is that others' words brought about, the other probes and the policy go on
        return unjudged(error)
