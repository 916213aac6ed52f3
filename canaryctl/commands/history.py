"""What happened to an environment: the histories that its hosts keep, merged. Nothing is changed and no run is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from canaryctl.errors import HostError
from canaryctl.evidence.signatures import standing, standing_words
from canaryctl.hosts import Fleet, read_history
from canaryctl.plan.deployment import Request, load_deployment

# What makes a release the one that a host serves. `down` ends that.
SERVING = ("deploy", "start", "rollback", "returned")
_CHECKED = 200  # rows whose signatures are checked, the newest

Line = Mapping[str, Any]
__all__ = ["SERVING", "History", "history", "made_current", "merge", "standing_words"]


@dataclass(frozen=True)
class History:
    """Changes and verdicts of an environment's hosts, newest first: rows as `merge` makes them."""

    environment: str
    stack: str
    lines: list[dict[str, Any]]


def history(request: Request, lines: int) -> tuple[History, list[HostError]]:
    """The newest `lines` changes and verdicts of an environment's hosts, newest first, and the hosts not asked."""
    deployment = load_deployment(request)
    with Fleet(deployment.hosts, request.become_password) as fleet:
        found, failures = fleet.each(
            fleet.hosts, lambda connection: read_history(connection, deployment.stack.stack, lines)
        )
    rows = merge(found)[:lines]
    for row in rows[:_CHECKED]:
        row |= standing(row, deployment.environment, deployment.stack.stack)
    return History(deployment.environment.name, deployment.stack.stack, rows), list(failures.values())


def merge(found: Mapping[str, Sequence[Line]]) -> list[dict[str, Any]]:
    """Hosts' lines as rows, newest first: what one run wrote on several hosts is one row, with `hosts`.

    A row's time is that of the first host that was told.
    """
    rows: list[dict[str, Any]] = []
    open_rows: dict[str, list[dict[str, Any]]] = {}
    for host, lines in found.items():
        for line in lines:
            key = repr(sorted((name, repr(value)) for name, value in line.items() if name != "time"))
            alike = open_rows.setdefault(key, [])
            row = next((row for row in alike if line.get("run") and host not in row["hosts"]), None)
            if row is None:
                row = {**line, "hosts": []}
                alike.append(row)
                rows.append(row)
            row["hosts"].append(host)
            row["time"] = min(str(row.get("time") or ""), str(line.get("time") or ""))
    return sorted(rows, key=lambda row: str(row["time"]), reverse=True)


def made_current(release: str | None, lines: Sequence[Line]) -> Line | None:
    """The line of the change that made `release` the one in use, of a host's history, oldest first.

    None where nothing in the history tells: it does not reach so far, or somebody changed the host by hand.
    """
    found: Line | None = None
    ended: set[Any] = set()  # environments: down ends nothing that another one of the stack serves
    for line in reversed(lines):
        if line.get("what") == "down" and line.get("verdict") != "failed":
            ended.add(line.get("environment"))
        if found and found.get("environment") in ended:
            break
        if line.get("what") not in SERVING:
            continue
        if line.get("to") == release and release and line.get("environment") not in ended:
            found = line
            if line.get("from") != release:
                break
        elif line.get("verdict") != "failed":  # a change that failed may have stopped before it served anything
            break
    return found
