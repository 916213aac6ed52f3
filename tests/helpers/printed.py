"""Streams to print to, and a run to print."""

from __future__ import annotations

import io
from typing import Any

from canaryctl.evidence.document import new_document

LONG = "the strategy 'neuro' does not exist there; valid ones are: " + ", ".join(f"strategy_{n}" for n in range(20))


def stream(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def text_of(written: io.TextIOWrapper) -> str:
    written.flush()
    buffer = written.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(written.encoding)


def result(**more: Any) -> dict[str, Any]:
    row = {"kind": "http", "blame": None, "attempts": 1, "seconds": 0.25}
    known = {
        "id": "20261124T081530Z-deploy-5c1f",
        "command": "deploy",
        "environment": "canary",
        "variant": "split",
        "finished": "2026-11-24T08:16:11Z",
        "directory": "runs/canary/x",
        "verdict": "inconclusive",
        "seconds": 41.2,
        "probes": [
            {"name": "Backend Health", "verdict": "passed", "reason": "", **row},
            {"name": "Training Lifecycle", "verdict": "inconclusive", "reason": LONG, **row},
        ],
        "stages": [{"name": "push", "host": "h1", "status": "changed", "seconds": 3.0}],
        "release": {"id": "ab" * 32, "images": {}, "migration": None},
        "migrations": {"before": "", "after": "0002"},
    }
    return new_document(**(known | more))
