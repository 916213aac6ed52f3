"""Which hosts start together, and in which order: waves behind a gate. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wave:
    """Hosts that start together. The probes judge a `gate` before any other host starts."""

    hosts: tuple[str, ...]
    gate: bool = False


def make_waves(
    hosts: Sequence[str], groups: Mapping[str, Collection[str]], serial: Sequence[int | str]
) -> tuple[Wave, ...]:
    """Cut the hosts that start into waves, in the groups' order: what others need is placed first.

    Args:
        hosts: those whose services change.
        groups: the hosts of each placement group, in its order; every host is in one.
        serial: sizes as in Ansible's `serial`: numbers, or shares of all hosts that start (`25%`); the last repeats.
            Empty: all at once.

    The first of each group's hosts make the gate, which takes the place of a list's first size. Where nothing comes
    after them they are no gate: the verdict on the whole is the judgement on them.
    """
    if not serial:
        return (Wave(tuple(hosts)),)
    starting = {group: [host for host in members if host in hosts] for group, members in groups.items()}
    ordered = list(dict.fromkeys(host for members in starting.values() for host in members))
    first = {members[0] for members in starting.values() if members}
    gate = tuple(host for host in ordered if host in first)
    rest = [host for host in ordered if host not in first]
    if not rest:
        return (Wave(tuple(hosts)),)
    waves = [Wave(gate, gate=True)]
    sizes = [_size(entry, len(hosts)) for entry in (serial[1:] or serial)]
    while rest:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        waves.append(Wave(tuple(rest[:size])))
        rest = rest[size:]
    return tuple(waves)


def _size(entry: int | str, total: int) -> int:
    """How many hosts an entry means; a share too small for one host means one."""
    return entry if isinstance(entry, int) else max(total * int(entry.rstrip("%")) // 100, 1)


def too_many(failed: int, hosts: int, percentage: float) -> bool:
    """Whether so many failures in a wave of so many hosts stop the deploy, as Ansible counts them.

    The percentage has to be exceeded; a wave in which every host failed stops it in any case.
    """
    return failed > 0 and (failed == hosts or 100 * failed / hosts > percentage)
