"""Ports that a release publishes against those that a host already uses. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable

from canaryctl.facts.host import HostFacts

LEFTOVER = "docker-proxy"  # listens for a container's port; named as holder where there is no such container


def taken_ports(
    ports: Iterable[tuple[str, int, str]], facts: HostFacts, own: Collection[str]
) -> list[tuple[int, str, str]]:
    """(port, service, holder) of every port that something else than the compose projects `own` holds.

    Args:
        ports: (address, port, service); '' stands for all addresses.
    """
    # Docker listens before it tells of the container, as long as the host replaces it for a run that is gone.
    change = facts.state.change
    moving = change is not None and change.phase in ("begun", "returning")
    unknown = moving or (facts.docker is not None and not facts.docker.running)
    ours = {(p.address, p.port) for c in facts.containers if c.project in own for p in c.ports if p.port}
    found: list[tuple[int, str, str]] = []
    for address, port, service in ports:
        for taken in facts.ports:
            if taken.port != port or not _overlap(address, taken.address):
                continue
            if any(number == port and _overlap(held, taken.address) for held, number in ours):
                continue
            holder = _holder(facts, port)
            if unknown and not holder and taken.process == LEFTOVER:
                continue
            found.append((port, service, holder or taken.process or "another process"))
            break
    return found


def way_out(holder: str) -> str:
    """What to do about a port that `holder`, as `taken_ports` says it, has."""
    if holder == LEFTOVER:
        return (
            "no container that runs has it: Docker itself kept it, as it may after a power loss;"
            " on the host run: systemctl restart docker"
        )
    return "stop what holds it, or publish another port"


def on_all_addresses(address: str) -> bool:
    """Whether a listening address stands for all of a host's."""
    if address in ("", "*"):
        return True
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def _holder(facts: HostFacts, port: int) -> str:
    names = [c.name for c in facts.containers for p in c.ports if p.port == port]
    return f"container {names[0]}" if names else ""


def _overlap(first: str, second: str) -> bool:
    """Whether two listening addresses collide: the same, or one of them stands for all."""
    return first == second or on_all_addresses(first) or on_all_addresses(second)
