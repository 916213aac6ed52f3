"""Which worker of pytest-xdist runs which file, and when: what takes longest first, whole labs where they are needed.

Every worker has a lab of its own. The first two bring up all its hosts where a file is marked `whole_lab`; the others
keep to files that do with one host, so that their labs stay small. The example's images are a gigabyte for each host:
files that deploy it are for the first worker, one after the other, and for the second only when it has nothing else.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

ROOT = Path(__file__).parents[2]
TIMES = ROOT / "tests" / "times.json"
WHOLE_LABS = 2
_WORTH_NOTING = 1.0  # seconds
_AS_DEPLOYED = "canary: Result"
_EXAMPLE = re.compile(rf"\b({_AS_DEPLOYED}|example: Example)\b")


def times() -> dict[str, float]:
    """Seconds that each file took, by its path in the project."""
    found: dict[str, float] = json.loads(TIMES.read_text())
    return found


def needs_whole_lab(file: str) -> bool:
    """Whether a test file is marked as one that needs more hosts than canary-1."""
    return "pytest.mark.whole_lab" in _text(file)


def serves_example(file: str) -> bool:
    """Whether a test file deploys the example: its tests take conftest's `canary` or `example`."""
    return _EXAMPLE.search(_text(file)) is not None


def _text(file: str) -> str:
    """A test file of tests/lab; of another one nothing."""
    path = ROOT / file
    return path.read_text() if file.startswith("tests/lab/test_") and path.is_file() else ""


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
        place = sorted(self.nodes, key=lambda each: str(each.gateway.id)).index(node)

        def rank(file: str) -> tuple[int, float]:
            untimed = 60.0 if file.startswith("tests/lab/") else 0.0
            return suits(file, place), self._seconds.get(file, untimed)

        return max((file for file in self.workqueue if suits(file, place) >= 0), key=rank, default=None)


def suits(file: str, place: int) -> int:
    """How much a file is one for the worker at that place; below 0 where it is not one for it."""
    example, whole = serves_example(file), needs_whole_lab(file)
    if place >= WHOLE_LABS and (example or whole):
        return -1
    if example and place == 0:
        return 4 if _AS_DEPLOYED in _text(file) else 3  # the others only leave something else for these
    if example:
        return 0
    return 2 if whole else 1


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
