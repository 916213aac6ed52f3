"""Results as a table: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from faults.cells import STAGES, Seen


def one_line(seen: Seen) -> str:
    """A cell as it is told while the matrix runs."""
    code = "hung" if seen.code is None else f"exit {seen.code}"
    verdict = "ok" if not seen.wrong else "; ".join(seen.wrong)
    return f"{seen.cell!s:<28} {code:<7} {seen.ended:5.0f} s  away {seen.outage:5.1f} s  again {seen.again}  {verdict}"


def matrix(faults: Sequence[str], results: Iterable[Seen]) -> str:
    """Faults by stages, in Markdown: exit code, seconds until the command ended, longest time without service.

    A cell that was not run is empty; one that is not ok is bold, and what was wrong follows below.
    """
    rows: Mapping[tuple[str, str], Seen] = {(seen.cell.fault, seen.cell.stage): seen for seen in results}
    lines = [f"| fault | {' | '.join(STAGES)} |", "|---" * (len(STAGES) + 1) + "|"]
    for fault in faults:
        cells = [_cell(rows.get((fault, stage))) for stage in STAGES]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    bad = [seen for seen in rows.values() if seen.wrong]
    lines += ["", *(f"- **{seen.cell}**: {'; '.join(seen.wrong)}" for seen in bad)] if bad else []
    return "\n".join([*lines, "", figures(list(rows.values()))]) + "\n"


def figures(results: Sequence[Seen]) -> str:
    """Cells ok of all that were run, the longest time without service and the longest wait for a command's end."""
    if not results:
        return "No cell was run."
    green = sum(not seen.wrong for seen in results)
    away = max(results, key=lambda seen: seen.outage)
    slow = max(results, key=lambda seen: seen.ended)
    return (
        f"{green} of {len(results)} cells ok. Longest without service: {away.outage:.1f} s ({away.cell}). "
        f"Longest until a command ended: {slow.ended:.0f} s ({slow.cell})."
    )


def _cell(seen: Seen | None) -> str:
    if seen is None:
        return ""
    text = f"{'hung' if seen.code is None else seen.code}, {seen.ended:.0f} s, {seen.outage:.1f}"
    return f"**{text}**" if seen.wrong else text
