"""Two runs side by side, from their run.json alone. Pure.

The form of the answer is documented in docs/evidence.md: every list has rows with an `a` and a `b`, null where a run
has no such thing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import count
from typing import Any

from canaryctl.evidence.document import latency

Document = Mapping[str, Any]
Row = dict[str, Any]

LOG_ROWS = 100
_SIDE = ("id", "command", "environment", "stack", "variant", "role", "verdict", "exit_code", "started", "seconds")
_LEVELS = ("traceback", "error", "warning", "info")


def compare(a: Document, b: Document) -> dict[str, Any]:
    """Run `a` (the baseline, or the earlier one) beside run `b`, as `runs compare --output json` prints it."""
    titles = _titles(a, b)
    return {
        "a": _side(a, titles[0]),
        "b": _side(b, titles[1]),
        "probes": _paired(("name",), _probes(a), _probes(b)),
        "services": _paired(("service",), _services(a), _services(b)),
        "images": _paired(("image",), _images(a), _images(b)),
        "containers": _paired(("host", "service"), *_containers(a, b)),
        "contracts": _paired(("image", "check"), _contracts(a), _contracts(b)),
        "metrics": _paired(("name", "statistic"), _metrics(a), _metrics(b)),
        "stages": _paired(("host", "stage"), _stages(a), _stages(b)),
        "migrations": {"a": dict(a.get("migrations") or {}), "b": dict(b.get("migrations") or {})},
        "logs": _logs(a, b),
    }


def _titles(a: Document, b: Document) -> tuple[str, str]:
    """What the two columns are called: by their roles, else by what tells them apart."""
    roles = [str(run.get("role") or "") for run in (a, b)]
    if roles == ["baseline", "candidate"]:
        first, second = (f"{role} ({run.get('variant')})" for role, run in zip(roles, (a, b), strict=True))
        return first, second
    for key in ("environment", "variant"):
        if a.get(key) and b.get(key) and a[key] != b[key]:
            return str(a[key]), str(b[key])
    return str(a.get("id")), str(b.get("id"))


def _side(run: Document, title: str) -> Row:
    release = run.get("release") or {}
    return {"title": title, **{key: run.get(key) for key in _SIDE}, "release": release.get("id")}


def _paired(key: tuple[str, ...], a: Mapping[Any, Any], b: Mapping[Any, Any]) -> list[Row]:
    """A row for every key of either side, in the order of `a`; what only `b` has comes last."""
    rows = []
    for found in dict.fromkeys([*a, *b]):
        values = found if isinstance(found, tuple) else (found,)
        rows.append({**dict(zip(key, values, strict=True)), "a": a.get(found), "b": b.get(found)})
    return rows


def _probes(run: Document) -> dict[str, Row]:
    return {
        row["name"]: {
            "verdict": row["verdict"],
            "reason": row.get("reason") or "",
            "seconds": row.get("seconds"),
            "attempts": row.get("attempts"),
            "flaky": bool(row.get("flaky")),
            "gates": bool(row.get("gates", True)),
            "latency": row.get("latency") or latency(row.get("exchanges") or []),
        }
        for row in run.get("probes") or ()
    }


def _images(run: Document) -> dict[str, Row]:
    images = (run.get("release") or {}).get("images") or {}
    return {name: {"id": image.get("id"), "size": image.get("size")} for name, image in images.items()}


def _services(run: Document) -> dict[str, Row]:
    images = _images(run)
    services = (run.get("release") or {}).get("services") or {}
    return {service: {"image": name, **images.get(name, {})} for service, name in services.items()}


def _containers(a: Document, b: Document) -> tuple[dict[Hashable, Row], dict[Hashable, Row]]:
    """By host and service where both runs know the same hosts; else by service and number."""
    hosts = [{row["host"] for row in run.get("containers") or ()} for run in (a, b)]
    return _containers_of(a, hosts[0] == hosts[1]), _containers_of(b, hosts[0] == hosts[1])


def _containers_of(run: Document, by_host: bool) -> dict[Hashable, Row]:
    kept = ("state", "health", "healthy_seconds", "memory_bytes", "restarts", "oom_killed")
    found: dict[Hashable, Row] = {}
    for row in run.get("containers") or ():
        host = row["host"] if by_host else ""
        names = (row["service"] if n == 1 else f"{row['service']} {n}" for n in count(1))
        service = next(name for name in names if (host, name) not in found)
        found[host, service] = {key: row.get(key) for key in kept}
    return found


def _contracts(run: Document) -> dict[Hashable, str]:
    return {(row["image"], row["check"]): row["verdict"] for row in run.get("contracts") or ()}


def _metrics(run: Document) -> dict[Hashable, Row]:
    kept = ("verdict", "value", "unit", "n")
    return {
        (row["name"], row.get("statistic") or ""): {key: row.get(key) for key in kept}
        for row in run.get("metrics") or ()
    }


def _stages(run: Document) -> dict[Hashable, Row]:
    """Seconds by host and stage; a stage that ran twice counts twice."""
    found: dict[Hashable, Row] = {}
    for row in run.get("stages") or ():
        before = found.get((row["host"], row["name"]), {"seconds": 0.0})
        seconds = round(before["seconds"] + row["seconds"], 3)
        found[row["host"], row["name"]] = {"seconds": seconds, "status": row["status"]}
    return found


def _logs(a: Document, b: Document) -> list[Row]:
    """Patterns by service over all hosts: how often each run has it. What is worse, and what only one has, first."""
    counts = [_patterns(run) for run in (a, b)]
    rows: list[Row] = [
        {"service": service, "level": level, "pattern": pattern, "a": counts[0].get(key, 0), "b": counts[1].get(key, 0)}
        for key in dict.fromkeys([*counts[0], *counts[1]])
        for service, level, pattern in [key]
    ]
    rows.sort(key=lambda row: (_LEVELS.index(row["level"]), bool(row["a"] and row["b"]), -row["a"] - row["b"]))
    return rows[:LOG_ROWS]


def _patterns(run: Document) -> dict[tuple[str, str, str], int]:
    found: dict[tuple[str, str, str], int] = {}
    for service, row in _patterns_of(run):
        key = (service, row["level"], row["pattern"])
        found[key] = found.get(key, 0) + row["count"]
    return found


def _patterns_of(run: Document) -> Iterable[tuple[str, Row]]:
    for services in (run.get("logs") or {}).values():
        for service, excerpt in services.items():
            for row in excerpt.get("patterns") or ():
                yield service, row
