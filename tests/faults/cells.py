"""What is tried in which order, and what is right: pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

STAGES = ("provision", "push", "render", "migrate", "start", "probe", "collect", "rollback")
CONFIRM = 30  # seconds: `canary_confirm` of the environment
GAP = 10  # seconds without service that a start may take on a busy machine
ENDS = 120  # seconds from a fault after which a command hangs

# How long a fault lasts. Breaks of the network outlast the 30 s in which one must be noticed.
SECONDS = {"link-cut": 35.0, "packets-dropped": 35.0, "link-slow": 10.0}
OTHERWISE = 20.0

# Docker's containers end with it: nobody can serve then, so the time of the fault does not count.
TAKES_SERVICE = {
    "host-killed",
    "host-rebooted",
    "dockerd-killed",
    "dockerd-stopped",
    "dockerd-frozen",
    "memory-pressure",
}

# Exit codes as documented: the host is lost (3), what is done there fails (6), or probes do (1). A fault that is over
# soon enough may be survived (0).
_LOST, _FAILS = {0, 3}, {0, 1, 6}
CODES = {
    "link-cut": _LOST,
    "packets-dropped": _LOST,
    "link-slow": {0},
    "host-killed": _LOST,
    "host-rebooted": _LOST | {6},
    "dockerd-killed": _FAILS,
    "dockerd-stopped": _FAILS,
    "dockerd-frozen": _FAILS,
    "disk-full": {0, 6},
    "inodes-gone": {0, 6},
    "memory-pressure": _FAILS | _LOST,
    "clock-skewed": {0},
    "sshd-refusing": _LOST,
    "apt-locked": {0, 6},
    "registry-gone": {0},
    "database-down": _FAILS,
    "read-only-opt": {0, 6},
}

# Cells that were wrong once, by the matrix or before there was one; `make test` tries them each time.
FAILED_ONCE = (
    "host-killed:start",
    "sshd-refusing:start",
    "sshd-refusing:rollback",
    "dockerd-stopped:start",
    "packets-dropped:start",
    "link-cut:probe",
    "disk-full:push",
    "link-slow:push",
    "memory-pressure:migrate",
    "read-only-opt:probe",
)


@dataclass(frozen=True)
class Cell:
    """A fault in a stage."""

    fault: str
    stage: str

    def __str__(self) -> str:
        return f"{self.fault}:{self.stage}"

    @classmethod
    def parse(cls, text: str) -> Cell:
        fault, _, stage = text.strip().partition(":")
        if fault not in CODES or stage not in STAGES:
            raise SystemExit(f"{text!r} is no cell: FAULT:STAGE of {', '.join(CODES)} and {', '.join(STAGES)}")
        return cls(fault, stage)

    @property
    def seconds(self) -> float:
        """How long the fault lasts."""
        return SECONDS.get(self.fault, OTHERWISE)


def order(faults: Sequence[str], stages: Sequence[str], seed: int) -> list[Cell]:
    """All cells, so that any beginning of them has each fault, and each stage, about equally often.

    Another seed gives another order: who has time for some has them all after enough days.
    """
    chance = random.Random(seed)  # noqa: S311  no secret
    rows, columns = chance.sample(list(faults), len(faults)), chance.sample(list(stages), len(stages))
    shifts = range(len(columns))
    return [Cell(fault, columns[(row + shift) % len(columns)]) for shift in shifts for row, fault in enumerate(rows)]


def sample(faults: Sequence[str], count: int, seed: int) -> list[Cell]:
    """What was wrong once, and the first `count` of the seed's order of the others."""
    known = [Cell.parse(text) for text in FAILED_ONCE]
    return known + [cell for cell in order(faults, STAGES, seed) if cell not in known][:count]


@dataclass
class Seen:
    """What was seen of one cell, in the order in which it happens. Times are seconds.

    `ended`: from the fault until the command ended; `outage`: the longest time without service; `code` None: it hung.
    """

    cell: Cell
    host: str
    reached: bool = False
    code: int | None = None
    ended: float = 0.0
    said: str = ""
    failed_stages: list[str] = field(default_factory=list)
    failed_probes: dict[str, list[str]] = field(default_factory=dict)  # name -> its hosts
    outage: float = 0.0
    wanted: tuple[str, str] = ("", "")  # pages of the old and the new release
    served: str = ""
    verify: str = ""
    lock: str = ""
    again: int | None = None
    again_said: str = ""
    page: str = ""
    left: list[str] = field(default_factory=list)
    fault: str = ""  # what went wrong with the fault itself
    before: str = ""  # what had to be done to have the host serve at first
    state: str = ""  # the host's folder, where something is wrong
    wrong: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "cell": str(self.cell)}


def outage_limit(cell: Cell) -> float:
    """Seconds without service that are right: the foretold gap, and until the host goes back by itself."""
    return GAP + CONFIRM + (cell.seconds + 20 if cell.fault in TAKES_SERVICE else 0)


def wrong(seen: Seen) -> list[str]:
    """What was not as it has to be, each in words; none: the cell is ok."""
    found = [f"the fault: {seen.fault}"] if seen.fault else []
    if not seen.reached:
        return [*found, f"never reached {seen.cell.stage}: exit {seen.code}, {last_line(seen.said)}"]
    found += _how_it_ended(seen)
    if seen.served not in seen.wanted or not seen.served:
        found.append(f"serves {seen.served or 'nothing'}, wanted {' or '.join(seen.wanted)}")
    if seen.outage > outage_limit(seen.cell):
        found.append(f"{seen.outage:.0f} s without service, allowed {outage_limit(seen.cell):.0f}")
    if seen.verify:
        found.append(f"evidence: {seen.verify}")
    if seen.lock:
        found.append(f"lock: {seen.lock}")
    if seen.again != 0:
        found.append(f"again: exit {seen.again}, {last_line(seen.again_said)}")
    elif seen.page != seen.wanted[1]:
        found.append(f"again passed and serves {seen.page or 'nothing'}, not {seen.wanted[1]}")
    return [*found, *(f"left: {what}" for what in seen.left)]


def _how_it_ended(seen: Seen) -> list[str]:
    if seen.code is None:
        return [f"hung for {seen.ended:.0f} s"]
    found = []
    if seen.code not in CODES[seen.cell.fault]:
        allowed = ", ".join(map(str, sorted(CODES[seen.cell.fault])))
        found.append(f"exit {seen.code}, documented {allowed}: {last_line(seen.said)}")
    if "Traceback" in seen.said:
        found.append("a traceback")
    if seen.code == 1 and seen.failed_probes:  # a verdict: its rows say what, where and why
        if not any(seen.host in hosts for hosts in seen.failed_probes.values()):
            found.append("no failed probe names the host")
    elif seen.code:
        if seen.host not in seen.said:
            found.append("the host is not named")
        if not seen.failed_stages and not any(stage in seen.said for stage in STAGES):
            found.append("the stage is not named")
        if "help:" not in seen.said:
            found.append("no help")
    return found


def last_line(text: str) -> str:
    """What went wrong in one line: the line that says `error:`, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line.startswith("error:")), (lines or [""])[-1])[:300]
