"""Which worker of pytest-xdist runs which file, and when: what takes longest first, whole labs where they are needed.

Every worker has a lab of its own. The first two bring up all its hosts where a file is marked `whole_lab`; the others
keep to files that do with one host, so that their labs stay small.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

ROOT = Path(__file__).parents[2]
TIMES = ROOT / "tests" / "times.json"
WHOLE_LABS = 2
_WORTH_NOTING = 1.0  # seconds


def times() -> dict[str, float]:
    """Seconds that each file took, by its path in the project."""
    found: dict[str, float] = json.loads(TIMES.read_text())
    return found


def needs_whole_lab(file: str) -> bool:
    """Whether a test file is marked as one that needs more hosts than canary-1."""
    path = ROOT / file
    return file.startswith("tests/lab/") and path.is_file() and "pytest.mark.whole_lab" in path.read_text()


class Scheduling(LoadFileScheduling):
    """xdist's `loadfile`, but a worker is given the file that suits it best."""

    def schedule(self) -> None:
        """Begin, or go on after a worker was added."""
        self._seconds = times()
        super().schedule()

    def _assign_work_unit(self, node: WorkerController) -> None:
        if (file := self._next_for(node)) is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)

    def _next_for(self, node: WorkerController) -> str | None:
        whole = node in sorted(self.nodes, key=lambda each: str(each.gateway.id))[:WHOLE_LABS]

        def rank(file: str) -> tuple[bool, float]:
            untimed = 60.0 if file.startswith("tests/lab/") else 0.0
            return needs_whole_lab(file), self._seconds.get(file, untimed)

        return max((file for file in self.workqueue if whole or not needs_whole_lab(file)), key=rank, default=None)


class Times:
    """Adds up what each file takes, and at the end writes it down for later sessions."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        self._seconds[file] = self._seconds.get(file, 0) + report.duration

    def pytest_sessionfinish(self) -> None:
        known = {**times(), **self._seconds}
        noted = {
            file: round(spent)
            for file, spent in sorted(known.items())
            if spent > _WORTH_NOTING and (ROOT / file).is_file()
        }
        TIMES.write_text(json.dumps(noted, indent=2) + "\n")


def scheduling(config: pytest.Config, log: Any) -> Scheduling | None:
    """The scheduling of `--dist loadfile`; others are xdist's own."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None
