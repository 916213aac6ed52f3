"""A comparison as tables people read: the same rows for a terminal, Markdown and HTML. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from canaryctl.evidence.words import human_ms, human_seconds, human_size

Comparison = Mapping[str, Any]

# A difference is worth a colour from here on; less is noise. Ten per cent, and at least that much.
_RELATIVE = 0.1
_LOG_ROWS = 40


@dataclass(frozen=True)
class Line:
    """One row. `mood` is `better`, `worse` or empty; `verdicts` and `values` are the cells', where they have any."""

    label: str
    a: str
    b: str
    change: str = ""
    mood: str = ""
    verdicts: tuple[str, str] = ("", "")
    values: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Table:
    """Rows under a heading; `what` heads the first column, `note` says how to read it."""

    title: str
    what: str
    lines: tuple[Line, ...]
    note: str = ""

    @property
    def figures(self) -> list[float | None]:
        """The values of all cells, row by row: what a picture of the table is drawn to the scale of."""
        return [value for line in self.lines for value in line.values]


@dataclass(frozen=True)
class _Unit:
    show: Callable[[float | None], str]
    least: float


_BYTES, _SECONDS, _MS = _Unit(human_size, 1e6), _Unit(human_seconds, 0.2), _Unit(human_ms, 20)


def tables(comparison: Comparison) -> list[Table]:
    """Every table that has a row, the verdicts' first."""
    found = [
        Table("Tests", "Test", tuple(_test(row) for row in comparison["probes"])),
        Table("Metrics", "Metric", tuple(_metric(row) for row in comparison["metrics"])),
        Table("Contracts", "Check", tuple(_contract(row) for row in comparison["contracts"])),
        Table("Image size", "Service", tuple(_service(row) for row in comparison["services"])),
        Table("Start to healthy", "Service", _containers(comparison, "healthy_seconds", _SECONDS)),
        Table("Memory", "Service", _containers(comparison, "memory_bytes", _BYTES), "Page cache left out."),
        Table("Restarts", "Service", _restarts(comparison)),
        Table("Latency, median", "Test", _latencies(comparison, "p50"), "n: the answers it is taken over."),
        Table("Latency, longest", "Test", _latencies(comparison, "max")),
        Table("Stages", "Stage", tuple(_stage(row) for row in comparison["stages"])),
        Table("Database migration", "Revision", _migrations(comparison["migrations"])),
        Table("Log lines", "Pattern", _logs(comparison["logs"]), "Warnings and worse, and what only one run said."),
    ]
    return [table for table in found if table.lines]


def _test(row: Mapping[str, Any]) -> Line:
    cells = [f"{side['verdict']} {human_seconds(side['seconds'])}".strip() if side else "" for side in _sides(row)]
    verdicts = (_verdict(row["a"]), _verdict(row["b"]))
    return Line(row["name"], cells[0], cells[1], _turn(*verdicts), _turned(*verdicts), verdicts)


def _metric(row: Mapping[str, Any]) -> Line:
    def shown(side: Mapping[str, Any] | None) -> str:
        if not side or side["value"] is None:
            return side["verdict"] if side else ""
        value = f"{side['value']:g} {side['unit'] or ''}".strip()
        return f"{value}, n {side['n']}" if side["n"] is not None else value

    verdicts = (_verdict(row["a"]), _verdict(row["b"]))
    label = f"{row['name']} {row['statistic']}".strip()
    return Line(label, shown(row["a"]), shown(row["b"]), _turn(*verdicts), _turned(*verdicts), verdicts)


def _contract(row: Mapping[str, Any]) -> Line:
    verdicts = (row["a"] or "", row["b"] or "")
    return Line(f"{row['image']}: {row['check']}", *verdicts, _turn(*verdicts), _turned(*verdicts), verdicts)


def _service(row: Mapping[str, Any]) -> Line:
    a, b = (f"{human_size(side.get('size'))} {side['image']}".strip() if side else "" for side in _sides(row))
    before, after = ((side or {}).get("size") for side in _sides(row))
    return Line(row["service"], a, b, *_difference(before, after, _BYTES), values=(before, after))


def _containers(comparison: Comparison, key: str, unit: _Unit) -> tuple[Line, ...]:
    lines = []
    for row in comparison["containers"]:
        before, after = ((side or {}).get(key) for side in _sides(row))
        if before is not None or after is not None:
            lines.append(_figures(_placed(row), before, after, unit))
    return tuple(lines)


def _restarts(comparison: Comparison) -> tuple[Line, ...]:
    """Only where something restarted or ran out of memory: a table of noughts helps nobody."""

    def shown(side: Mapping[str, Any] | None) -> str:
        return f"{side['restarts']}" + (", killed: out of memory" if side["oom_killed"] else "") if side else ""

    return tuple(
        Line(_placed(row), shown(row["a"]), shown(row["b"]))
        for row in comparison["containers"]
        if any(side and (side["restarts"] or side["oom_killed"]) for side in _sides(row))
    )


def _latencies(comparison: Comparison, statistic: str) -> tuple[Line, ...]:
    lines = []
    for row in comparison["probes"]:
        found = [(side or {}).get("latency") for side in _sides(row)]
        if any(found):
            a, b = (f"{human_ms(one[statistic])}, n {one['n']}" if one else "" for one in found)
            before, after = (one[statistic] if one else None for one in found)
            lines.append(Line(row["name"], a, b, *_difference(before, after, _MS), values=(before, after)))
    return tuple(lines)


def _stage(row: Mapping[str, Any]) -> Line:
    before, after = ((side or {}).get("seconds") for side in _sides(row))
    return _figures(f"{row['stage']} on {row['host']}", before, after, _SECONDS)


def _migrations(both: Mapping[str, Mapping[str, Any]]) -> tuple[Line, ...]:
    def shown(side: Mapping[str, Any]) -> str:
        before, after = side.get("before"), side.get("after")
        if before is None and after is None:
            return ""
        return f"{before or 'empty'} → {after or 'empty'}" if before != after else str(after or "empty")

    cells = shown(both["a"]), shown(both["b"])
    return (Line("before → after", *cells),) if any(cells) else ()


def _logs(rows: list[Mapping[str, Any]]) -> tuple[Line, ...]:
    kept = [row for row in rows if row["level"] != "info" or not (row["a"] and row["b"])]
    return tuple(
        Line(
            f"{row['service']} {row['level']}: {row['pattern']}",
            str(row["a"] or ""),
            str(row["b"] or ""),
            "gone" if not row["b"] else "new" if not row["a"] else "",
            "" if row["level"] == "info" or (row["a"] and row["b"]) else "worse" if row["b"] else "better",
        )
        for row in kept[:_LOG_ROWS]
    )


def _figures(label: str, before: float | None, after: float | None, unit: _Unit) -> Line:
    return Line(label, unit.show(before), unit.show(after), *_difference(before, after, unit), values=(before, after))


def _difference(before: float | None, after: float | None, unit: _Unit) -> tuple[str, str]:
    """The change in words and in per cent, and whether it is worth a colour. Less is better in all that is measured."""
    if before is None or after is None or before == after:
        return "", ""
    change = after - before
    text = ("+" if change > 0 else "-") + unit.show(abs(change))
    if before and abs(change) / before >= 0.005:
        text += f" ({'+' if change > 0 else '-'}{abs(change) / before * 100:.0f} %)"
    if abs(change) < max(unit.least, _RELATIVE * before):
        return text, ""
    return text, "worse" if change > 0 else "better"


def _turn(before: str, after: str) -> str:
    if before == after:
        return ""
    if not before or not after:
        return "new" if after else "gone"
    return f"{before} → {after}"


def _turned(before: str, after: str) -> str:
    if before == after or not (before and after):
        return ""
    return "better" if after == "passed" else "worse" if before == "passed" else ""


def _sides(row: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    return row["a"], row["b"]


def _verdict(side: Mapping[str, Any] | None) -> str:
    return str(side["verdict"]) if side else ""


def _placed(row: Mapping[str, Any]) -> str:
    return f"{row['service']} on {row['host']}" if row["host"] else str(row["service"])
