"""How long what runs on a host may take to stop, as `stop_grace_period` says. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from canaryctl.agent.read.drains import ORDINARY, drain_beyond
from canaryctl.config.durations import show_duration
from canaryctl.facts.host import HostFacts

_WORTH_SAYING = 30.0  # seconds


def drain_of(facts: HostFacts, stack: str) -> float:
    """Seconds by which stopping all that runs of a stack may take longer than ordinary containers take."""
    return drain_beyond(_graces(facts, stack))


def drain_to_come(graces: Mapping[str, float]) -> float:
    """The same of what a release will run, by its services' `stop_grace_period`."""
    return drain_beyond(graces.items())


def drain_words(facts: HostFacts, stack: str) -> str:
    """What to say of it before a start; nothing where it is not long."""
    slow = {name: grace for name, grace in _graces(facts, stack) if grace < 0 or grace > _WORTH_SAYING}
    if not slow:
        return ""
    listed = ", ".join(
        f"{name.rpartition('/')[2]} {'for ever' if grace < 0 else show_duration(grace)}"
        for name, grace in sorted(slow.items())
    )
    return f"{facts.host}: what is stopped there may take its time by its stop_grace_period: {listed}"


def _graces(facts: HostFacts, stack: str) -> list[tuple[str, float]]:
    return [
        (f"{container.project}/{container.service or container.id}", _seconds(container.stop_timeout))
        for container in facts.containers
        if container.state == "running" and container.project.startswith(f"{stack}-")
    ]


def _seconds(grace: float | None) -> float:
    return float(ORDINARY) if grace is None else grace
