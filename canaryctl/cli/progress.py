"""Progress of a run for people and scripts: live rows on a terminal, lines in a pipe, JSON lines for CI."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from canaryctl.cli.output import Output, Printer, clean, print_event
from canaryctl.cli.promotion import promotion_text
from canaryctl.commands.words import flaky_words

if TYPE_CHECKING:
    from rich.console import RenderableType

Event = Mapping[str, Any]


class Progress:
    """Receives a run's events (a listener of `Run`); a context manager. This one shows nothing."""

    def __call__(self, event: Event) -> None:
        """Show an event."""

    def tell(self, event: Event) -> None:
        """Show what goes on and is not recorded; only live displays do."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""


def make_progress(mode: Output | str, *, out: IO[str] | None = None, err: IO[str] | None = None) -> Progress:
    """The progress output that suits `--output` and the streams.

    json keeps standard output for the result: progress goes to standard error, and only where that is a terminal.
    """
    out, err = out or sys.stdout, err or sys.stderr
    if mode == Output.NDJSON:
        return JsonLines(out)
    if mode == Output.JSON:
        return Lines(err) if err.isatty() else Progress()
    if out.isatty() and os.environ.get("TERM") != "dumb":
        return Live(out)
    return Lines(out)


class JsonLines(Progress):
    """Each event as it is recorded."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def __call__(self, event: Event) -> None:
        print_event(event, self._out)


class Lines(Progress):
    """One line for each thing that ended or went wrong."""

    def __init__(self, out: IO[str]) -> None:
        self._to = Printer(out)

    def __call__(self, event: Event) -> None:
        text = describe(event)
        if text:
            self._to.line(text)
            self._to.stream.flush()


class Live(Progress):
    """What ended scrolls up; what is under way stays below as rows with a spinner, its seconds and last task."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._to = Printer(out)
        self._lock = threading.Lock()
        self._active: dict[tuple[str, str], _Row] = {}

    def __enter__(self) -> Live:
        from rich.console import Console
        from rich.live import Live as RichLive
        from rich.spinner import Spinner

        self._console = Console(file=self._out, highlight=False, no_color=not self._to.colour)
        self._spinner = Spinner("dots" if self._to.unicode else "line")
        self._live = RichLive(
            get_renderable=self._rows, console=self._console, refresh_per_second=10, transient=True, auto_refresh=True
        )
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        from rich.text import Text

        with self._lock:
            track(self._active, event)
        text = describe(event)
        if text:
            status = str(event.get("verdict") or event.get("status") or _ALERTS.get(event["type"], ""))
            mark = f"{self._to.symbol(status)} " if status else "  "
            self._console.print(Text.from_ansi(self._to.shown(mark + text)))

    def _rows(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        for _ in range(4):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        with self._lock:
            rows = list(self._active.items())
        # A fleet larger than the screen would make the live rows flicker.
        visible = max(self._console.height - 3, 3)
        for (stage, host), row in rows[:visible]:
            words = (clean(stage), clean(host), row.seconds, clean(row.doing))
            table.add_row(self._spinner, *map(Text, words))
        if len(rows) > visible:
            table.add_row("", Text(f"and {len(rows) - visible} more"))
        return table


class _Row:
    """Something under way."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.doing = ""
        self.deadline: float | None = None  # seconds that it may take

    @property
    def seconds(self) -> str:
        """How long it has been under way, and how long that may be where something bounds it."""
        of = f" of {self.deadline:.0f}" if self.deadline else ""
        return f"{time.monotonic() - self.began:.0f}{of} s"


_ALERTS = {"warning": "inconclusive", "host.failed": "failed"}


def track(active: dict[tuple[str, str], _Row], event: Event) -> None:
    """Keep `active` (stage and host, or `probe` and name, under way) up to date with an event."""
    kind = event["type"]
    stage, host = str(event.get("stage", "")), str(event.get("host", ""))
    if kind == "stage.started":
        # Stages follow one another: a host that had no part in the last one must not spin on.
        for key in [key for key in active if key[0] not in (stage, "probe")]:
            del active[key]
        for name in event.get("hosts") or [""]:
            active[stage, str(name)] = row = _Row()
            row.deadline = event.get("deadline")
    elif kind == "stage.finished":
        active.pop((stage, host), None)
        active.pop((stage, ""), None)
    elif kind == "task" and (stage, host) in active:
        active[stage, host].doing = str(event.get("task", ""))
    elif kind == "push.progress":
        row = active.setdefault(("push", host), _Row())
        row.doing = _bytes_done(event)
    elif kind == "push.arrived" and (stage, host) in active:
        most = f" (at most {event['deadline']:.0f} s without progress)" if event.get("deadline") else ""
        active[stage, host].doing = f"{event['bytes'] / 1e6:.0f} MB sent, Docker unpacks{most}{_spared(event)}"
    elif kind == "probe.started":
        active["probe", str(event["name"])] = _Row()
    elif kind == "probe.attempt":
        row = active.setdefault(("probe", str(event["name"])), _Row())
        row.doing = str(event.get("reason") or "")
    elif kind == "probe.finished":
        active.pop(("probe", str(event["name"])), None)
    elif kind == "soak.started":
        active["soak", ""] = _Row()
    elif kind == "soak.round":
        row = active.setdefault(("soak", ""), _Row())
        row.doing = f"round {event['round']}, {event['after']:.0f} of {event['of']:.0f} s"
    elif kind == "lock.waiting":
        active["lock", host] = row = _Row()
        row.deadline = event.get("deadline")
    elif kind == "soak.finished":
        active.pop(("soak", ""), None)
    elif kind == "run.finished":
        active.clear()


def describe(event: Event) -> str:
    """An event as one line for people; empty for those that are only of passing interest."""
    kind = event["type"]
    if kind == "stage.started":
        return ""
    if kind == "run.started" and event.get("role"):
        return _line(f"{event['role']} {event['variant']}")
    if kind == "soak.started":
        return f"soak {event['seconds']:g} s: {len(event['probes'])} probes every {event['every']:g} s"
    if kind == "soak.finished":
        reason = f": {event['reason']}" if event["reason"] else ""
        return _line(f"soak {event['verdict']} after {event['rounds']} rounds in {event['seconds']:.0f}s{reason}")
    if kind == "wave.started":
        gate = ", the gate" if event["gate"] else ""
        return _line(f"wave {event['number']} of {event['of']}{gate}: {', '.join(event['hosts'])}")
    if kind == "metric.finished":
        return _line(f"metric {event['name']} {event['verdict']}: {event['reason']}")
    if kind == "stage.finished":
        message = f": {event['message']}" if event.get("message") and event["status"] == "failed" else ""
        host = f" {event['host']}" if event.get("host") else ""
        sent = f", {event['bytes'] / 1e6:.1f} MB sent{_spared(event)}" if event.get("bytes") is not None else ""
        return _line(f"{event['stage']}{host} {event['status']} {event['seconds']:.1f}s{sent}{message}")
    if kind == "task" and event.get("status") in ("failed", "unreachable"):
        return _line(f"{event['stage']} {event['host']} {event['status']}: {event['task']}")
    if kind == "probe.finished":
        seconds = f" {event['seconds']:.1f}s" if event.get("seconds") is not None else ""
        reason = f": {event['reason']}" if event.get("reason") and event["verdict"] != "passed" else ""
        reason = f": {flaky_words(event)}" if event.get("flaky") else reason
        return _line(f"probe {event['name']} {event['verdict']}{seconds}{reason}")
    if kind == "probe.changed":
        reason = f": {event['reason']}" if event.get("reason") and event["verdict"] != "passed" else ""
        now = f"{event['before']}, now {event['verdict']}"
        return _line(f"{event['time'][:19]}Z probe {event['name']} was {now} (round {event['round']}){reason}")
    if kind == "contract.finished" and event.get("verdict") != "passed":
        why = event.get("reason") or event.get("found") or ""
        return _line(f"contract {event['image']} {event['check']} {event['verdict']}: {why}")
    if kind == "lock.waiting":
        most = f" (at most {event['deadline']:.0f} s)" if event.get("deadline") else ""
        return _line(f"waiting for the lock of {event['host']}{most}, held by {event['text']}")
    if kind == "host.failed":
        return _line(f"{event['host']} failed: {event['what']}")
    if kind == "plan":
        changes = len(event["changes"])
        return f"plan {changes} change{'s' if changes != 1 else ''}" if changes else "plan nothing to change"
    if kind == "promotion":
        return promotion_text(event)
    if kind == "note":
        return _line(event["text"])
    if kind == "warning":
        where = f"{event['where']}: " if event.get("where") else ""
        return _line(f"warning {where}{event['what']}")
    return ""


def _line(text: str) -> str:
    return " ".join(clean(text).split())


def _bytes_done(event: Event) -> str:
    """How far a transfer is: bytes, rate, time left, and what need not be sent."""
    done, total = event.get("bytes") or 0, event.get("total") or 0
    of = f" of {total / 1e6:.0f} MB ({min(100 * done // total, 100)}%)" if total else " MB"
    layer = f" layer {str(event['layer']).removeprefix('sha256:')[:12]}" if event.get("layer") else ""
    rate = f", {event['rate'] / 1e6:.0f} MB/s" if event.get("rate") else ""
    left = f", {event['eta']:.0f} s left" if event.get("eta") is not None else ""
    return f"{event.get('image', '')}{layer} {done / 1e6:.0f}{of}{rate}{left}{_spared(event)}".strip()


def _spared(event: Event) -> str:
    """What an earlier transfer or an image of the host saved."""
    resumed = f", {event['resumed'] / 1e6:.0f} MB were there already" if event.get("resumed") else ""
    skipped = event.get("skipped") or 0
    return resumed + (f", {skipped} layer{'s' if skipped != 1 else ''} skipped" if skipped else "")
