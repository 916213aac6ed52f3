"""Operations that are under way while a deploy restarts what carries them out (`across: deploy`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from canaryctl.deploy import verification
from canaryctl.deploy.context import RunContext
from canaryctl.errors import CanaryError

if TYPE_CHECKING:  # the probes bring an HTTP client along, which most commands do without
    from canaryctl.config.probes.lifecycle import Lifecycle
    from canaryctl.probe.scope import Scope


class Operations(dict[tuple[str, str], tuple["Lifecycle", "Scope"]]):
    """What was begun, by probe and host, with what it takes to ask after it."""


_INTERRUPTED = 2.0  # seconds for all that is cancelled


@contextmanager
def under_way(ctx: RunContext) -> Iterator[None]:
    """Have an operation of each `across: deploy` probe going in this block, begun on the release that serves.

    They are in `ctx.state.in_flight` afterwards, for the probes to follow. Where the block fails they are cancelled.
    Only a deploy probes afterwards, so other commands begin none.
    """
    probes = _across(ctx) if ctx.command.carries_operations and not ctx.deployment.request.check else []
    if not probes:
        yield
        return
    operations, before = Operations(), _containers(ctx)
    try:
        _begin(ctx, probes, operations)
        yield
    except BaseException as stop:
        ctx.state.in_flight = {}
        _cancel_all(ctx, operations, None if isinstance(stop, Exception) else _INTERRUPTED)
        raise
    if operations:
        _see_after(ctx, operations, before)


def _cancel_all(ctx: RunContext, operations: Operations, seconds: float | None) -> None:
    """Cancel operations, all at once, and note what came of it; who interrupts waits for so many seconds at most."""

    def cancelled(name: str, host: str, probe: Lifecycle, scope: Scope) -> None:
        ctx.run.note(f"'{name}' was under way on {host}: {_cancel(probe, scope)}")

    cancelling = [
        threading.Thread(target=cancelled, args=(*key, *operation), name="cancel", daemon=True)
        for key, operation in operations.items()
    ]
    for thread in cancelling:
        thread.start()
    ends = None if seconds is None else time.monotonic() + seconds
    for thread in cancelling:
        thread.join(None if ends is None else max(ends - time.monotonic(), 0))


def _begin(ctx: RunContext, probes: list[Lifecycle], operations: Operations) -> None:
    """Start the operations where the hosts serve something; one that does not start is judged like any other."""
    from canaryctl.probe.context import Begun
    from canaryctl.probe.lifecycle import begin

    context = verification.probe_context(ctx)
    for probe in probes:
        for host in context.hosts_of(probe.on):
            if not ctx.served_before(host):
                continue
            scope = _scope(ctx, probe, host)
            outcome = begin(probe, scope)
            if outcome is not None:
                why = context.scrub(outcome.reason)
                ctx.run.warn(
                    f"'{probe.name}' could not be begun before the deploy, and is judged after it: {why}", host
                )
                continue
            operations[probe.name, host] = (probe, scope)
            ctx.state.in_flight[probe.name, host] = Begun(dict(scope.saved), tuple(scope.exchanges), scope.began)
            ctx.run.note(f"'{probe.name}' is under way on {host} while services restart")


def _across(ctx: RunContext) -> list[Lifecycle]:
    from canaryctl.config.probes.lifecycle import Lifecycle

    return [probe for probe in ctx.deployment.selection.probes if isinstance(probe, Lifecycle) and probe.across]


def _scope(ctx: RunContext, probe: Lifecycle, host: str) -> Scope:
    from canaryctl.probe.names import own_names
    from canaryctl.probe.scope import Scope

    context = verification.probe_context(ctx)
    names = {**context.names_on(host), **own_names(probe, context, host), **probe.vars}
    deadline = time.monotonic() + ctx.deployment.policy.probe_deadline
    return Scope(context, host, names, deadline, threading.Event())


def _see_after(ctx: RunContext, operations: Operations, before: set[tuple[str, float | None]]) -> None:
    """Note whether each operation outlasted the restarts, and how many there were."""
    from canaryctl.probe.lifecycle import goes_on

    outlasted = {}
    for key, (probe, scope) in operations.items():
        scope.deadline = time.monotonic() + ctx.deployment.policy.probe_deadline
        outlasted[key] = goes_on(probe, scope)
    ctx.observe(again=True)
    restarts = len(_containers(ctx) - before)
    for key, still in outlasted.items():
        ctx.state.in_flight[key] = replace(ctx.state.in_flight[key], outlasted=still, restarts=restarts)


def _containers(ctx: RunContext) -> set[tuple[str, float | None]]:
    """Every running container of the environment, by id and start."""
    return {
        (container.id, container.started)
        for facts in ctx.facts.values()
        for container in facts.containers
        if container.project == ctx.deployment.compose_project and container.state == "running"
    }


def _cancel(probe: Lifecycle, scope: Scope) -> str:
    from canaryctl.probe.lifecycle import cancel

    try:
        return cancel(probe, scope)
    except Exception as error:  # what stopped the deploy is what is to be reported
        return f"it could not be cancelled: {error.what if isinstance(error, CanaryError) else error}"
