"""Kind `logs`: lines that a service must or must not have logged. The host looks for them; the log stays there."""

from __future__ import annotations

import json
import shlex
import time
from functools import cache
from pathlib import Path
from typing import Any

from canaryctl.config.durations import parse_duration
from canaryctl.config.probes.logs import Logs
from canaryctl.facts.jsontext import parse_json
from canaryctl.probe.expect import start
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.results import Outcome, Unanswered, Unusable, failed, passed
from canaryctl.probe.scope import Scope, until_passed
from canaryctl.probe.service import docker, find_containers, run_script

_UNREADABLE = "does not support reading"


def run(probe: Logs, scope: Scope) -> Outcome:
    """Look at the log until it is as expected."""
    return until_passed(probe, scope, _attempt)


def _attempt(probe: Logs, scope: Scope) -> Outcome:
    if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
        return outcome
    probe = scope.render(probe)
    found = _scan(probe, scope)
    if faults := log_faults(probe, found["found"]):
        return failed(scope.context.scrub("; ".join(faults)))
    return passed(f"{found['lines']} lines are as expected")


def log_faults(probe: Logs, found: list[dict[str, Any]]) -> list[str]:
    """What of the log is not as expected; `found` has an entry for each pattern, the absent ones first."""
    absent = zip(probe.expect.absent, found, strict=False)
    present = zip(probe.expect.present, found[len(probe.expect.absent) :], strict=True)
    faults = [
        f"the log holds /{pattern}/ {_times(entry['count'])}: {_said(entry)}"
        for pattern, entry in absent
        if entry["count"]
    ]
    return faults + [f"no line of the log matches /{pattern}/" for pattern, entry in present if not entry["count"]]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _said(entry: dict[str, Any]) -> str:
    """The first excerpt in a reason: its first line, and the last, which says what a traceback is about."""
    _, first, *more = entry["excerpts"][0]
    return start(f"{first} ... {more[-1].strip()}" if more else first, 240)


def _scan(probe: Logs, scope: Scope) -> dict[str, Any]:
    left = max(scope.ends(probe.timeout) - time.monotonic(), 0.1)
    since = {
        "deploy": "",
        "start": f'--since "$({docker(scope.sudo)} inspect --format \'{{{{.State.StartedAt}}}}\' "$id")"',
    }.get(probe.since)
    if since is None:
        since = f"--since {parse_duration(probe.since):g}s"
    python = shlex.quote(scope.python)
    script = find_containers(scope.context.project, probe.on, sudo=scope.sudo, stopped=True) + (
        f'timeout -k 1 {left:.3f} {python} -IS - {since} "$id"\n'
    )
    patterns = [*probe.expect.absent, *probe.expect.present]
    call = f"\nmain(json.loads({json.dumps(docker(scope.sudo).split())!r}), json.loads({json.dumps(patterns)!r}))\n"
    ran = run_script(
        scope,
        script,
        service=probe.on,
        shown="logs",
        method="LOGS",
        timeout=left,
        stdin=(_program() + call).encode(),
    )
    try:
        found = read_scan(ran.stdout, len(patterns))
    except ValueError:
        if "re.error" in ran.complaint or "PatternError" in ran.complaint:
            raise Unusable(f"the host's Python refuses a pattern: {ran.complaint.strip().splitlines()[-1]}") from None
        raise Unanswered(f"the log could not be read on {scope.host}: {start(ran.complaint[-400:], 240)}") from None
    if found["code"] and _UNREADABLE in found["last"]:
        raise Unusable(f"the log of {probe.on} cannot be read back: {found['last']}")
    if found["code"]:
        raise Unanswered(f"the log could not be read on {scope.host}: {start(found['last'], 240)}")
    return found


def read_scan(text: bytes, patterns: int) -> dict[str, Any]:
    """What the host's search answered, as logscan.scan returns it.

    Raises:
        ValueError: it is none, or has not an entry for each pattern.
    """
    found = parse_json(text)
    if not isinstance(found, dict) or not isinstance(found.get("last"), str):
        raise ValueError("it is no answer of the search")
    entries = found.get("found")
    if not all(_is_count(found.get(key)) for key in ("lines", "code")) or not isinstance(entries, list):
        raise ValueError("it counts nothing")
    if len(entries) != patterns or not all(map(_is_entry, entries)):
        raise ValueError("it has not an entry for each pattern")
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_entry(entry: Any) -> bool:
    """A count, and an excerpt where that is not 0: its time, its line, and those that follow."""
    if not isinstance(entry, dict) or not _is_count(entry.get("count")) or entry["count"] < 0:
        return False
    excerpts = entry.get("excerpts")
    return (
        isinstance(excerpts, list)
        and bool(excerpts) == bool(entry["count"])
        and all(
            isinstance(one, list) and len(one) > 1 and all(isinstance(line, str) for line in one) for one in excerpts
        )
    )


@cache
def _program() -> str:
    return Path(__file__).with_name("logscan.py").read_text(encoding="utf-8")
