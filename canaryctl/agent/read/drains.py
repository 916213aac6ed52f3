"""How long containers may take to stop. Pure."""

from __future__ import annotations

from typing import Iterable

ORDINARY = 10  # seconds that Docker gives a container between SIGTERM and SIGKILL where nothing else is said
_FOR_EVER = 86400.0  # what counts for a container that is never killed


def drain_beyond(graces: Iterable[tuple[str, float]]) -> float:
    """Seconds by which stopping may take longer than what a wait for it has for ordinary containers anyhow.

    Services that need each other stop one after the other; which do, the next release may say otherwise than what runs:
    so all of them count, and a service's containers as one, for these stop together.

    Args:
        graces: a service and a container's seconds until it is killed, negative where it never is.
    """
    longest: dict[str, float] = {}
    for service, grace in graces:
        beyond = _FOR_EVER if grace < 0 else min(max(grace - ORDINARY, 0.0), _FOR_EVER)
        longest[service] = max(longest.get(service, 0.0), beyond)
    return sum(longest.values())
