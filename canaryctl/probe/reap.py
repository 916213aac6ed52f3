"""Operations that an earlier run of a lifecycle left unfinished: found by tag, and cancelled before a new start."""

from __future__ import annotations

from typing import Any

from canaryctl.config.probes.lifecycle import Cancel, Lifecycle, Reap
from canaryctl.probe.exchange import ask
from canaryctl.probe.expect import Shapeless, http_faults, search, show, start
from canaryctl.probe.names import run_mark, tag_prefix
from canaryctl.probe.results import Unanswered, Unusable
from canaryctl.probe.scope import Scope

_AT_MOST = 20  # leftovers that one run cancels


def reap_leftovers(probe: Lifecycle, scope: Scope) -> str:
    """Cancel what earlier runs of this probe left. Returns how that went, to append to a reason, or nothing.

    Leftovers say nothing about this release: whatever comes of them, the lifecycle itself goes on.

    Raises:
        Unanswered: the host is lost.
        Unusable: the probe's own expressions cannot be used.
    """
    if probe.reap is None or probe.cancel is None:
        return ""
    reap = scope.render(probe.reap)
    try:
        found = _leftovers(reap, tag_prefix(probe.name, scope.context, scope.host), probe.timeout, scope)
    except Unanswered as error:
        if error.lost:
            raise
        return f"; what earlier runs left could not be looked for: {error.reason}"
    except Shapeless as error:
        return f"; what earlier runs left could not be looked for: {error}"
    cancelled = [_cancel(probe.cancel, tag, values, probe.timeout, scope) for tag, values in found]
    return "".join(f"; left over from an earlier run: {one}" for one in cancelled)


def _leftovers(reap: Reap, prefix: str, timeout: float, scope: Scope) -> list[tuple[str, dict[str, Any]]]:
    """Tag and saved values of each unfinished operation whose tag has our prefix and is of no run under way."""
    answer = ask(scope, reap, "reap", timeout)
    if not 200 <= answer.status < 300:
        raise Shapeless(f"status {answer.status}: {start(answer.text)}")
    listed = answer.find(reap.at)
    if not isinstance(listed, list):
        raise Shapeless(f"'{reap.at}' is no list: {show(listed)}")
    alive = {run_mark(run) for run in scope.context.others()}
    found = []
    for entry in listed:
        tag = search(reap.tag_field, entry)
        if isinstance(tag, str) and tag.startswith(prefix) and tag[len(prefix) :].split("-")[0] not in alive:
            found.append((tag, {name: search(expression, entry) for name, expression in reap.save.items()}))
    return found[:_AT_MOST]


def _cancel(cancel: Cancel, tag: str, values: dict[str, Any], timeout: float, scope: Scope) -> str:
    which = ", ".join(str(value) for value in values.values()) or tag
    try:
        asked = scope.render_with(cancel, values)
        faults = http_faults(asked.expect, ask(scope, asked, "reap", timeout))
    except Unanswered as error:
        if error.lost:
            raise
        faults = [error.reason]
    except Unusable as error:
        faults = [str(error)]
    return f"{which} could not be cancelled: {'; '.join(faults)}" if faults else f"{which} was cancelled"
