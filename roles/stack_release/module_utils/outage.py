"""How long services did not serve, from what Docker told as it happened and from what it knows afterwards. Pure.

Python 3.8, standard library. Times are seconds since 1970 by the host's clock.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import Any

from ansible.module_utils.compose_cli import service_of

UNKNOWN = 255  # Docker's exit code of what ended without its seeing it
HARMLESS = ("1", "10", "12")  # signals that tell a service to read its files anew, say
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")


def gaps(
    before: list[dict],
    events: list[dict],
    after: list[dict] | None,
    *,
    began: float,
    lost: float | None = None,
    carried: dict[str, Any] | None = None,
    deaf: set[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """By service `from`, when it stopped serving, and `until`, when it served again; None for not.

    One that was found stopped has `since` besides, when it stopped; what came back between an earlier look and this one
    has `earlier`, from when and until when it was away. Where Docker told nothing, the moment is the latest at which
    the service is known to have served, and the first at which it is known to serve again: no time is told shorter than
    it was.

    Args:
        before: containers as they were inspected before anything was done to them.
        events: what befell containers since, oldest first.
        after: containers as they are now; None where Docker does not answer.
        began: when the work began.
        lost: when Docker ceased to tell, where it did.
        carried: what an earlier look has left, see `watch.read_note`.
        deaf: containers that serve until they are killed: they do not heed the signal that stops them.
    """
    found, _ = told(before, events, checked_services(before, after, events), deaf or set())
    names = {service_of(c) for c in [*before, *(after or [])]} | set(found)
    answer: dict[str, dict[str, Any]] = {}
    for name in sorted(names - {""}):
        was = [c for c in before if service_of(c) == name]
        there = None if after is None else [c for c in after if service_of(c) == name]
        gap: dict[str, Any] = dict(found.get(name, {"from": None, "until": None}))
        if not any(well(c) for c in was):
            gap["from"] = found_away(name, was, carried or {}) or gap["from"]
            gap["since"] = gap["from"] or stopped_at(was)
        elif there is not None and untouched(was, there):
            gap = {"from": None, "until": None}
        elif gap["from"] is None and (there is not None or lost is not None):
            gap["from"] = _silent_stop(was, there, began, lost)
        if earlier := came_back(name, was, carried or {}):
            gap["earlier"] = earlier
        if gap["from"] is not None or "since" in gap:
            gap["until"] = _until(gap["until"], there, lost)
        if gap["from"] is not None and gap["until"] is not None:
            gap["until"] = max(gap["from"], gap["until"])
        silent = gap["from"] is None and gap["until"] is None and not earlier
        if not silent and (there is None or gap["until"] is not None or not ended_well(was, there)):
            answer[name] = gap
    return answer


def found_away(name: str, was: list[dict], carried: dict[str, Any]) -> float | None:
    """Since when one is away that an earlier look saw serve, or stop; None where there was none.

    After a power loss Docker notes when it was back, not when that was.
    """
    served = carried.get("served", {}).get(name)
    missed = None if served is None else min(served, stopped_at(was) or served)
    away: float | None = carried.get("away", {}).get(name, missed)
    return away


def came_back(name: str, was: list[dict], carried: dict[str, Any]) -> list[float] | None:
    """From when until when one was away that serves now and did at an earlier look, or not even then."""
    serving = [c for c in was if well(c)]
    if not serving:
        return None
    first = min(serving, key=started_at)
    away, noted = carried.get("away", {}).get(name), carried.get("started", {}).get(name)
    if away is None and name in carried.get("served", {}) and abs(started_at(first) - (noted or 0.0)) > 0.001:
        seen: float = carried["served"][name]
        # Of one whose start was not known yet it is only known that it served.
        away = min(seen, moment_of(first["State"].get("FinishedAt")) or seen) if noted else seen
    return [away, served_since(first)] if away is not None and started_at(first) > away else None


def told(
    before: list[dict], events: list[dict], checked: set[str], deaf: set[str]
) -> tuple[dict[str, dict[str, float | None]], dict[str, set[str]]]:
    """What events tell alone: gaps by service, from the first stop to the last return, and which containers serve then.

    Args:
        before: containers as they were when the events begin.
        checked: services that have a health check: they serve once they are healthy, others once they are started.
    """
    found: dict[str, dict[str, float | None]] = {}
    up = serving_of(before)
    seen = {container["Id"] for container in before}
    for event in events:
        name, what, one = name_of(event), event["Action"], event["Actor"].get("ID", "")
        if not name:
            continue
        moment, ours = event["timeNano"] / 1e9, up.setdefault(name, set())
        if stops(event, deaf):
            # One that nobody has seen serves in a project whose place ours takes.
            if one in ours or one not in seen:
                ours.discard(one)
                if not ours:
                    found.setdefault(name, {"from": moment, "until": None})["until"] = None
        elif what == "health_status: healthy" if name in checked else what == "start":
            ours.add(one)
            gap = found.setdefault(name, {"from": None, "until": None})
            gap["until"] = gap["until"] or moment
        seen.add(one)
    return found, up


def stops(event: dict, deaf: set[str]) -> bool:
    """Whether its container serves no more: from the signal on that tells it to stop, where it heeds that."""
    what, one = event["Action"], event["Actor"]
    if what == "kill":
        heeds = one.get("ID") not in deaf or one["Attributes"].get("signal") == "9"
        return heeds and one["Attributes"].get("signal") not in HARMLESS
    return what in ("die", "stop")


def name_of(event: dict) -> str:
    """The compose service that an event is about; '' for one-off containers, which serve nobody."""
    labels = event["Actor"]["Attributes"]
    return "" if labels.get("com.docker.compose.oneoff") == "True" else labels.get("com.docker.compose.service", "")


def checked_services(before: list[dict], after: list[dict] | None, events: list[dict]) -> set[str]:
    """Services that have a health check: as they are now, or as far as is known."""
    now = {service_of(c): bool(c["State"].get("Health")) for c in [*before, *(after or [])]}
    healthy = {name_of(event) for event in events if event["Action"].startswith("health_status")}
    gone = healthy - {service_of(c) for c in after or []}
    return {name for name, checked in now.items() if checked} | gone


def serving_of(containers: list[dict]) -> dict[str, set[str]]:
    """The containers that serve, by service."""
    found: dict[str, set[str]] = {}
    for container in containers:
        if well(container):
            found.setdefault(service_of(container), set()).add(container["Id"])
    return found


def well(container: dict) -> bool:
    """Whether it runs, healthily where it has a health check."""
    state = container["State"]
    health = (state.get("Health") or {}).get("Status", "healthy")
    return bool(state["Running"]) and not state["Restarting"] and health == "healthy"


def ended_well(before: list[dict], after: list[dict]) -> bool:
    """Whether all that there is was started since, did its work and ended."""
    old, states = {c["State"]["StartedAt"] for c in before}, [c["State"] for c in after]
    done = [one for one in states if one["Status"] == "exited" and not one["ExitCode"] and one["StartedAt"] not in old]
    return bool(states) and len(done) == len(states)


def untouched(before: list[dict], after: list[dict]) -> bool:
    """Whether one that served has served all along."""
    same = {(c["Id"], c["State"]["StartedAt"]) for c in before if well(c)}
    return any((c["Id"], c["State"]["StartedAt"]) in same for c in after if well(c))


def started_at(container: dict) -> float:
    return moment_of(container["State"].get("StartedAt")) or 0.0


def served_since(container: dict) -> float:
    """From when on it is known to serve: its first healthy check that Docker remembers, of its last five."""
    began = started_at(container)
    health = container["State"].get("Health")
    checks = [check for check in (health or {}).get("Log") or [] if (moment_of(check.get("Start")) or 0.0) >= began]
    streak: list[dict] = []
    for check in reversed(checks):
        if check.get("ExitCode"):
            break
        streak.append(check)
    return max(began, moment_of(streak[-1].get("End")) or 0.0) if streak else began


def stopped_at(containers: list[dict]) -> float | None:
    """When the last of them stopped, of those that have not been well since; None where that is not known."""
    states = [container["State"] for container in containers]
    ended = [one for one in states if not one["Running"] or (one.get("Health") or {}).get("Status") == "starting"]
    moments = [moment for one in ended if (moment := moment_of(one.get("FinishedAt"))) is not None]
    return max(moments) if moments and len(ended) == len(states) else None


def moment_of(text: Any) -> float | None:
    """A time as Docker writes it; None for none, and for the year 1, by which it means never."""
    match = _MOMENT.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[1].startswith("0001"):
        return None
    seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S")) + float(match[2] or 0)
    if match[3] == "Z":
        return seconds
    hours, minutes = match[3][1:].split(":")
    return seconds - (1 if match[3][0] == "+" else -1) * (int(hours) * 3600 + int(minutes) * 60)


def _silent_stop(was: list[dict], there: list[dict] | None, began: float, lost: float | None) -> float:
    """When one that served stopped, where no event tells."""
    if there is None:
        return lost or began
    # Of one that ended while dockerd was dead it notes that it does not know how, and when it came to see that.
    known = [c for c in there if lost is None or c["State"].get("ExitCode") != UNKNOWN]
    left = {c["Id"]: moment_of(c["State"].get("FinishedAt")) for c in known}
    moments = [left.get(c["Id"]) or lost or began for c in was if well(c)]
    return max(began, min(moments))


def _until(until: float | None, there: list[dict] | None, lost: float | None) -> float | None:
    """When one serves again that is `there` now; events tell of `until`."""
    if there is None:
        return None if lost is not None else until
    serving = [c for c in there if well(c)]
    if not serving:
        return None
    since = min(served_since(c) for c in serving)
    # Where Docker ceased to tell after it was back, it may have gone and come once more.
    return since if until is None or min(started_at(c) for c in serving) > until else until


def replacements(answer: dict[str, Any]) -> dict[str, float]:
    """Seconds that services took which served, and serve again: what the next replacement is likely to take."""
    found = answer.get("canary_gaps") or {}
    return {
        name: round(gap["until"] - gap["from"], 2)
        for name, gap in found.items()
        if "since" not in gap and gap["from"] is not None and gap["until"] is not None
    }


def in_all(away: dict[str, float | None], answer: dict[str, Any]) -> dict[str, float | None]:
    """Seconds that services were away so far, None for one that is not back; and what another answer of `gaps` adds."""
    found = dict(away)
    for name, gap in (answer.get("canary_gaps") or {}).items():
        spans = [*([gap["earlier"]] if gap.get("earlier") else []), (gap["from"], gap["until"])]
        for began, until in spans:
            if began is not None:
                found[name] = None if until is None else round((found.get(name) or 0.0) + until - began, 2)
    return found
