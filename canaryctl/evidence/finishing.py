"""The end of a run's record: what is made of run.json, whatever of it fails, and what must not come in between."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from canaryctl.evidence import files
from canaryctl.evidence.page import render_html
from canaryctl.evidence.report import render_junit, render_markdown


def write_reports(directory: Path, document: dict[str, Any]) -> list[str]:
    """Write plan.json and the reports; notes of those that are not there: what fails here must not cost the record."""
    reports: Mapping[str, Any] = {
        "plan.json": lambda found: files.to_json(found["plan"]),
        "report.md": lambda found: files.encode(render_markdown(found, in_place=True)),
        "junit.xml": lambda found: files.encode(render_junit(found)),
        "report.html": lambda found: files.encode(render_html(found, in_place=True)),
    }
    notes = []
    for name, render in reports.items():
        try:
            files.write(directory / name, render(document))
        except OSError as fault:  # a full disk
            notes.append(f"{name} could not be written: {fault.strerror or fault}")
        except Exception as fault:
            notes.append(f"{name} could not be made: {type(fault).__name__}: {fault}")
    return notes


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """An interruption must not cost the record of what ends anyhow.

    By handlers: a signal that is ignored is not heard at all, and the second one ends the process (cli/interrupt.py).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {
        number: signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
