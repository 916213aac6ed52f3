"""What `probe --watch` shows: a live table on a terminal; elsewhere the lines or events of what changed."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from canaryctl.cli.output import Output, Printer, clean, field
from canaryctl.cli.progress import Event, Progress, make_progress

if TYPE_CHECKING:
    from rich.console import RenderableType


def make_watch(mode: Output | str, *, out: IO[str] | None = None) -> Progress:
    """The progress output of a watch. Its `tell` takes what is shown and not recorded."""
    out = out or sys.stdout
    if mode == Output.TEXT and out.isatty() and os.environ.get("TERM") != "dumb":
        return Table(out)
    return make_progress(mode, out=out)


class Table(Progress):
    """One row a probe: its verdict, for how long it has had it, and why."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._to = Printer(out)
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, Any]] = {}
        self._round, self._changes, self._next = 0, 0, 0.0

    def __enter__(self) -> Table:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self._out, highlight=False, no_color=not self._to.colour)
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take an event of the record, or one of a round that is not recorded."""
        with self._lock:
            kind = event["type"]
            if kind == "probe.started":
                self._rows.setdefault(str(event["name"]), {"since": time.monotonic()})["busy"] = True
            elif kind == "probe.finished":
                self._finished(event)
            elif kind == "watch.waiting":
                self._round, self._changes = int(event["round"]), int(event["changes"])
                self._next = time.monotonic() + float(event["seconds"])

    tell = __call__

    def _finished(self, event: Event) -> None:
        row = self._rows.setdefault(str(event["name"]), {"since": time.monotonic()})
        if row.get("verdict") not in (None, event["verdict"]):
            row |= {"since": time.monotonic(), "before": row["verdict"]}
        row |= {"busy": False, **{key: event.get(key) for key in ("verdict", "seconds", "reason", "flaky")}}

    def _table(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid.grid(padding=(0, 2))
        for _ in range(4):
            grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        with self._lock:
            rows = [(name, dict(row)) for name, row in self._rows.items()]
            footer = self._footer()
        now = time.monotonic()
        for name, row in rows[: max(self._console.height - 4, 3)]:
            verdict = str(row.get("verdict") or "")
            was = f", was {row['before']}" if row.get("before") else ""
            words = " ".join(clean(row.get("reason") or "").split())
            grid.add_row(
                Text.from_ansi(self._to.shown(f"{self._to.symbol(verdict or 'running')} {field(name)}")),
                Text.from_ansi(self._to.shown(self._to.verdict(verdict) + (" (flaky)" if row.get("flaky") else ""))),
                Text("runs" if row.get("busy") else f"{row.get('seconds') or 0:.1f} s"),
                Text(f"for {now - row['since']:.0f} s{was}" if verdict else ""),
                Text(words),
            )
        return Group(grid, Text(footer))

    def _footer(self) -> str:
        left = self._next - time.monotonic()
        coming = f"the next in {left:.0f} s" if left > 0 else "the next is under way"
        changes = f"{self._changes} change{'' if self._changes == 1 else 's'}"
        return f"round {self._round}, {changes}; {coming}; Ctrl-C ends it" if self._round else "the first round runs"
