"""The history that operators share: one line a change and one a verdict, in `history.jsonl` on each host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canaryctl.config.durations import now
from canaryctl.errors import HostError
from canaryctl.facts import lock_lost
from canaryctl.facts.programs import AppendAnswer, believed
from canaryctl.hosts.ask import ask
from canaryctl.hosts.connection import Connection


class UnwrittenError(HostError):
    """A host is there and could not write its line. `phase`: of the change that it was to confirm, '' for none."""

    def __init__(self, what: str, where: str, hint: str, phase: str) -> None:
        super().__init__(what, where, hint, reason="history")
        self.phase = phase


def history_line(
    *,
    who: str,
    environment: str,
    what: str,
    after: str | None,
    verdict: str | None,
    run: str,
    role: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A line of the history; `after` is a release's id and becomes its `to`. Its `from` is each host's own.

    `role` is in the line where there is one: what passed as a baseline is neither promoted nor rolled back to.
    `extra` are further keys: what a verdict proves (deploy/proof.py).
    """
    line = {
        "time": now(),
        "who": who,
        "environment": environment,
        "what": what,
        "from": None,
        "to": after,
        "verdict": verdict,
        "run": run,
    }
    return {**line, **({} if role is None else {"role": role}), **(extra or {})}


def append(
    connection: Connection,
    stack: str,
    line: dict[str, Any] | None,
    locks: Sequence[Mapping[str, str]] = (),
    *,
    confirm: str = "",
    give_up: str = "",
) -> str:
    """Append a line to the history of a stack on a host.

    Args:
        line: None where there is only something to confirm.
        locks: `path` and `owner` of the locks that must still be there.
        confirm: the run whose change of what is served stays.
        give_up: the run whose change is taken back at once.

    Returns:
        The phase that this change is in then, see agent/read/change.py; empty where there is none. Where the host has
        gone back by itself no line was written.

    Raises:
        LockedError: a lock is lost.
        HostError: the host refused, with its own words; UnwrittenError where it found no room for the line.
    """
    order = {"stack": stack, "line": line, "locks": list(locks), "confirm": confirm, "give_up": give_up}
    found = believed(connection.host, AppendAnswer, ask(connection, "append", order, timeout=30))
    if found.lost is not None:
        raise lock_lost(connection.host, next(iter(found.lost), None))
    if found.error:
        hint = f"check the room in {connection.inventory.root}/{stack} there, and who may write it"
        raise UnwrittenError(f"the history could not be written: {found.error}", connection.host, hint, found.phase)
    return found.phase
