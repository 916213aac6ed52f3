"""Kind `registered`: a list endpoint holds enough of each kind, all fresh, each reachable where it registered."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.config.probes import Request
from canaryctl.config.probes.registered import Fresh, Reachable, Registered
from canaryctl.probe.exchange import ask
from canaryctl.probe.expect import Answer, Shapeless, is_true, search, show, start
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.reach import Elsewhere, Refused
from canaryctl.probe.redirect import named_origins, usable_url
from canaryctl.probe.results import Outcome, Unanswered, failed, passed
from canaryctl.probe.scope import Scope, until_passed

MOST = 256  # entries that are asked whether they are reachable
AHEAD = 60.0  # seconds that a clock may be ahead of another's; of what is later nothing follows


def run(probe: Registered, scope: Scope) -> Outcome:
    """Look at the list until it is as expected."""
    return until_passed(probe, scope, _attempt)


def _attempt(probe: Registered, scope: Scope) -> Outcome:
    if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
        return outcome
    probe = scope.render(probe)
    answer = ask(scope, probe, "request", probe.timeout)
    if not 200 <= answer.status < 300:
        return failed(f"status {answer.status}, expected 2xx: {start(answer.text)}")
    try:
        entries = _entries(probe, answer)
        faults = count_faults(probe, entries)
        if probe.fresh:
            faults += fresh_faults(probe.fresh, entries, answer_time(answer), scope.now())
        if probe.reachable:
            faults += _unreachable(probe, probe.reachable, entries, scope)
    except Shapeless as error:
        return failed(str(error))
    if faults:
        return failed("; ".join(faults))
    counts = _counts(probe, entries)
    reached = ", each reachable where it registered" if probe.reachable else ""
    return passed(", ".join(f"{counts[kind]} {kind}" for kind in probe.kinds) + reached)


def _entries(probe: Registered, answer: Answer) -> list[Any]:
    """The entries that count, of the kinds asked for."""
    found = answer.find(probe.at)
    if not isinstance(found, list):
        raise Shapeless(f"'{probe.at}' is no list: {show(found)}")
    counted = [entry for entry in found if not probe.only or is_true(search(probe.only, entry))]
    return [entry for entry in counted if _kind(probe, entry) in probe.kinds]


def _kind(probe: Registered, entry: Any) -> str:
    """An entry's kind; empty where that is no text."""
    kind = search(probe.kind_field, entry)
    return kind if isinstance(kind, str) else ""


def _counts(probe: Registered, entries: list[Any]) -> dict[str, int]:
    kinds = [_kind(probe, entry) for entry in entries]
    return {kind: kinds.count(kind) for kind in probe.kinds}


def count_faults(probe: Registered, entries: list[Any]) -> list[str]:
    """Kinds there are too few of."""
    counts = _counts(probe, entries)
    return [
        f"{counts[kind] or 'no'} {kind} registered, expected at least {least}"
        for kind, least in probe.kinds.items()
        if counts[kind] < least
    ]


def fresh_faults(fresh: Fresh, entries: list[Any], now: float, on_host: float = math.inf) -> list[str]:
    """Entries whose time is missing, too old or yet to come.

    Args:
        now: epoch seconds on the answering side's clock, as it says.
        on_host: the same on the host's clock, which the application has no say in.
    """
    faults = []
    latest = min(now, on_host) + AHEAD
    for entry in entries:
        value = search(fresh.field, entry)
        seen = _epoch(value)
        if seen is None:
            faults.append(f"'{fresh.field}' is no time: {show(value)}")
        elif seen > latest:
            ahead = show_duration(seen - latest + AHEAD)
            faults.append(f"'{fresh.field}' is in the future: {show(entry)} was seen {ahead} from now")
        # The Date header has whole seconds.
        elif now - seen > fresh.within + 1:
            age, limit = show_duration(now - seen), show_duration(fresh.within)
            faults.append(f"stale: {show(entry)} was seen {age} ago, at most {limit} allowed")
    return faults


def answer_time(answer: Answer) -> float:
    """When the answer was given, by the clock of who gave it; this machine's clock where it does not say."""
    try:
        return parsedate_to_datetime(str(answer.headers["date"])).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError, OSError):
        return time.time()


def _epoch(value: Any) -> float | None:
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seen = float(value)
        else:
            parsed = datetime.fromisoformat(str(value))
            seen = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seen if math.isfinite(seen) else None


def _is_usable(endpoint: str) -> bool:
    try:
        return bool(usable_url(None, endpoint))
    except Refused:
        return False


def _unreachable(probe: Registered, reachable: Reachable, entries: list[Any], scope: Scope) -> list[str]:
    faults: list[str] = []
    seen: set[str] = set()
    # The probe's own address is no news to it, whoever repeats it.
    own = () if probe.url in scope.foreign else (probe.url,)
    elsewhere = Elsewhere(named_origins((*own, *reachable.origins)))
    if len(entries) > MOST:
        faults.append(f"{len(entries)} are registered, of which the first {MOST} were asked")
    for entry in entries[:MOST]:
        endpoint = search(reachable.endpoint_field, entry)
        kind = _kind(probe, entry)
        if not isinstance(endpoint, str) or not _is_usable(endpoint):
            faults.append(f"{kind} registered no usable endpoint: {show(endpoint)}")
            continue
        place = str(usable_url(None, endpoint)).rstrip("/")
        if place in seen:
            faults.append(f"{kind} at {endpoint} is registered twice")
            continue
        seen.add(place)
        try:
            url = endpoint.rstrip("/") + "/" + reachable.path.lstrip("/")
            answer = ask(scope, Request(url=url), "endpoint", probe.timeout, elsewhere=elsewhere, foreign=True)
        except Unanswered as error:
            if error.lost:
                raise
            faults.append(f"{kind} at {endpoint} is not reachable: {error.reason}")
            continue
        if not 200 <= answer.status < 300:
            faults.append(f"{kind} at {endpoint} answers status {answer.status}")
    return faults
