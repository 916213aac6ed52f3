"""The form that all benchmarks write: one case a row, ours beside a peer measured in the same run."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Case:
    """`target` bounds the ratio ours / peer. `note` says what the figures alone do not."""

    case: str
    ours: float
    peer: str
    peer_value: float
    unit: str
    target: float
    bound: str  # at_least | at_most
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours / peer."""
        return self.ours / self.peer_value

    @property
    def met(self) -> bool:
        """Whether the target is."""
        return self.ratio <= self.target if self.bound == "at_most" else self.ratio >= self.target

    def as_dict(self) -> dict[str, Any]:
        """As in the results file."""
        found = {**asdict(self), "ratio": round(self.ratio, 4), "met": self.met}
        return {
            key: round(value, 3) if isinstance(value, float) and key != "ratio" else value
            for key, value in found.items()
        }


def times_faster(case: str, ours: float, peer: str, peer_value: float, times: float, note: str = "") -> Case:
    """A case in seconds that must be so many times faster than its peer."""
    return Case(case, ours, peer, peer_value, "s", round(1 / times, 4), "at_most", note)


def say(text: str) -> None:
    """A line for whoever waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(case: Case) -> None:
    """A row of the table."""
    mark = "met" if case.met else "MISSED"
    digits = 0 if abs(case.ours) >= 1000 else 2
    say(
        f"{case.case:<44} {case.ours:>11.{digits}f} {case.peer_value:>11.{digits}f} {case.unit:<5} "
        f"ratio {case.ratio:<8.3f} {case.bound} {case.target:<7g} {mark:<6}  vs {case.peer}"
        + (f"  ({case.note})" if case.note else "")
    )


def write(name: str, cases: list[Case]) -> Path:
    """results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps([case.as_dict() for case in cases], indent=2) + "\n")
    return path
