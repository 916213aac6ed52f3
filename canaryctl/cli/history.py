"""The command `history`: what happened to an environment. It leaves no run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, Printer, aligned, leave, print_event, print_json, shown_time

if TYPE_CHECKING:
    from canaryctl.commands.history import History
    from canaryctl.commands.request import Request

# What a row of text has in a place of its own, and what only a promotion reads: JSON has it all.
_COLUMNS = frozenset(("time", "who", "environment", "what", "from", "to", "verdict", "run", "role", "reason", "hosts"))
_PROOF = frozenset(("variant", "simulated", "contracts", "images", "placed", "probes_file"))
_SIGNATURE = frozenset(("signature", "signer", "signed", "unsigned"))


@opt.takes()
def history(
    request: Request,
    output: Output,
    *,
    limit_lines: Annotated[
        int, typer.Option("--limit-lines", metavar="N", min=1, max=100_000, help="The newest so many of each host.")
    ] = 50,
) -> None:
    """Say what was changed on an environment, when, by whom, and how it was judged; newest first."""
    from canaryctl.commands import history

    found, failures = history.history(request, limit_lines)
    if output is Output.JSON:
        print_json(vars(found))
    elif output is Output.NDJSON:
        for line in found.lines:
            print_event(line, sys.stdout)
    else:
        to = Printer(sys.stdout)
        to.lines(history_lines(found, to.arrow()))
    leave(failures)


def history_lines(found: History, arrow: str = "->") -> list[str]:
    """The history as text: a line each, and below it what was said about it."""
    if not found.lines:
        return [f"{found.stack} on {found.environment}: no history on its hosts"]
    rows = [
        [
            shown_time(row.get("time")),
            _what(row, found.environment),
            _releases(row, arrow),
            str(row.get("verdict") or "") + (" (simulated GPU)" if row.get("simulated") else ""),
            "  ".join((str(row.get("who") or "unknown"), ", ".join(row["hosts"]), str(row.get("run") or ""))),
        ]
        for row in found.lines
    ]
    lines = []
    for row, line in zip(found.lines, aligned(rows, least={2: 28, 3: 12}), strict=True):
        lines += [line, *(f"    {remark}" for remark in _remarks(row))]
    return lines


def _remarks(row: Mapping[str, Any]) -> Iterator[str]:
    from canaryctl.commands.history import standing_words

    if row.get("reason"):
        yield f"because {row['reason']}"
    if signed := standing_words(row):
        yield signed
    extra = {name: value for name, value in row.items() if name not in _COLUMNS | _PROOF | _SIGNATURE and value}
    if extra:
        yield ", ".join(_extra(name, value) for name, value in extra.items())


def _what(row: Mapping[str, Any], environment: str) -> str:
    what = str(row.get("what") or "change")
    marks = [str(row["role"])] if row.get("role") else []
    marks += [f"of {row['environment']}"] if row.get("environment") not in (None, environment) else []
    return what + (f" ({', '.join(marks)})" if marks else "")


def _releases(row: Mapping[str, Any], arrow: str) -> str:
    before, after = (str(row.get(key) or "")[:12] for key in ("from", "to"))
    if before == after:
        return after or "-"
    return f"{before or 'nothing'} {arrow} {after or 'nothing'}"


def _extra(name: str, value: Any) -> str:
    if value is True:
        return name
    return f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
