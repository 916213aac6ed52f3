"""What happened to an environment: the histories that its hosts keep, merged. Nothing is changed and no run is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canaryctl.errors import HostError
from canaryctl.evidence.signatures import standing, standing_words
from canaryctl.hosts import Connection, Connections, read_history
from canaryctl.plan.deployment import Request, Scene

# What makes a release the one that a host serves. `down` ends that.
SERVING = ("deploy", "start", "rollback")
# What a row says by itself; anything else in a line is printed after it, by its name.
# What a line of text has in a place of its own, and what only a promotion reads: JSON has it all.
_SAID = frozenset(("time", "who", "environment", "what", "from", "to", "verdict", "run", "role", "reason", "hosts"))
_PROOF = frozenset(("variant", "simulated", "contracts", "images", "placed", "probes_file"))
_SIGNATURE = frozenset(("signature", "signer", "signed", "unsigned"))
_CHECKED = 200  # rows whose signatures are checked, the newest

Line = Mapping[str, Any]


def history(request: Request, lines: int) -> tuple[dict[str, Any], list[HostError]]:
    """The newest `lines` changes and verdicts of an environment's hosts, newest first, and the hosts not asked."""
    scene = Scene(request)
    by_name = {host.name: host for host in scene.hosts}

    def read(connection: Connection) -> list[dict[str, Any]]:
        return read_history(
            connection,
            by_name[connection.host],
            scene.stack.stack,
            lines,
            become_password=request.become_password,
        )

    with Connections(scene.hosts) as connections:
        found, failures = connections.each(scene.hosts, read)
    rows = merge(found)[:lines]
    for row in rows[:_CHECKED]:
        row |= standing(row, scene.environment, scene.stack.stack)
    return {
        "environment": scene.environment.name,
        "stack": scene.stack.stack,
        "lines": rows,
    }, list(failures.values())


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
    for line in reversed(lines):
        if line.get("what") == "down":
            break
        if line.get("what") not in SERVING:
            continue
        if line.get("to") == release and release:
            found = line
            if line.get("from") != release:
                break
        elif line.get("verdict") != "failed":  # a change that failed may have stopped before it served anything
            break
    return found


def history_lines(answer: Mapping[str, Any]) -> list[str]:
    """The history as text: a line each, and what was said about it below."""
    rows: list[Mapping[str, Any]] = answer["lines"]
    if not rows:
        return [f"{answer['stack']} on {answer['environment']}: no history on its hosts"]
    width = max(len(_what(row, answer["environment"])) for row in rows)
    wide = max(12, *(len(_verdict(row)) for row in rows))
    lines = []
    for row in rows:
        told = (
            shown_time(row.get("time")),
            _what(row, answer["environment"]).ljust(width),
            _releases(row).ljust(28),
            _verdict(row).ljust(wide),
            str(row.get("who") or "unknown"),
            ", ".join(row["hosts"]),
            str(row.get("run") or ""),
        )
        lines.append("  ".join(told).rstrip())
        if row.get("reason"):
            lines.append(f"    because {row['reason']}")
        if signed := standing_words(row):
            lines.append(f"    {signed}")
        extra = {name: value for name, value in row.items() if name not in _SAID | _PROOF | _SIGNATURE and value}
        if extra:
            lines.append("    " + ", ".join(_extra(name, value) for name, value in extra.items()))
    return lines


def shown_time(time: Any) -> str:
    """RFC 3339 to the second, in UTC, as people read it."""
    return str(time or "unknown time")[:19].replace("T", " ")


def _what(row: Line, environment: str) -> str:
    what = str(row.get("what") or "change")
    marks = [str(row[key]) for key in ("role",) if row.get(key)]
    marks += [f"of {row['environment']}"] if row.get("environment") not in (None, environment) else []
    return what + (f" ({', '.join(marks)})" if marks else "")


def _verdict(row: Line) -> str:
    return str(row.get("verdict") or "") + (" (simulated GPU)" if row.get("simulated") else "")


def _releases(row: Line) -> str:
    before, after = (str(row.get(key) or "")[:12] for key in ("from", "to"))
    if before == after:
        return after or "-"
    return f"{before or 'nothing'} -> {after or 'nothing'}"


def _extra(name: str, value: Any) -> str:
    if value is True:
        return name
    if isinstance(value, list):
        return f"{name} {', '.join(map(str, value))}"
    return f"{name} {value}"
