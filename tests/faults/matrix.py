"""`make faults`: every fault in every stage, or as many as there is time for; exit 1 where a cell is not ok.

Variables: FAULT_MINUTES (60), FAULT_SEED (the day), FAULT_CELLS (FAULT:STAGE,... instead of all), FAULT_HOSTS
(box-1,box-2: that many cells at once), FAULT_LAB (faults), FAULT_OUT (build/faults), FAULT_KEEP (1: the lab stays up).
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

from canaryctl import lab as labs
from canaryctl.lab.faults import FAULTS
from faults import looks, table
from faults.cells import STAGES, Cell, Seen, order
from faults.command import end_all
from faults.lane import CTL, ROOT, Lane
from faults.trial import try_cell

OUT = Path(os.environ.get("FAULT_OUT") or ROOT / "build" / "faults")
LAB = os.environ.get("FAULT_LAB") or "faults"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def make_lanes(names: list[str], folder: Path) -> list[Lane]:
    """The lab's hosts, each serving a first release from a project in the folder."""
    env = {**os.environ, "CANARYCTL_LAB": LAB}
    for argv in (
        ["lab", "up", "--with-docker", "--name", LAB, "--hosts", ",".join(names)],
        ["build", "backend", "db", "--build-arg", "BASE_IMAGE"],
    ):
        subprocess.run([CTL, *argv], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
    made = labs.require(LAB)
    lanes = [Lane(made, name, folder / name) for name in names]
    for lane in lanes:
        lane.clean()
        lane.make_well()
        lane.birth = frozenset(looks.leftovers(lane))
    return lanes


class Matrix:
    """Cells that wait, and those that were seen."""

    def __init__(self, cells: list[Cell], deadline: float) -> None:
        self._waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        for cell in cells:
            self._waiting.put(cell)
        self._deadline = deadline
        self._guard = threading.Lock()
        self.seen: list[Seen] = []
        self.broken: list[str] = []

    def work(self, lane: Lane) -> None:
        """Run cells on a lane as long as there are some, and time."""
        while time.monotonic() < self._deadline:
            try:
                cell = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                seen = try_cell(lane, cell)
            except (SystemExit, Exception) as fault:
                self.broken.append(f"{cell} on {lane.host}: {type(fault).__name__}: {fault}")
                say(self.broken[-1])
                return
            with self._guard:
                self.seen.append(seen)
                with (OUT / "results.jsonl").open("a") as file:
                    file.write(json.dumps(seen.as_dict()) + "\n")
                say(table.one_line(seen))


def main() -> int:
    """Returns the exit code."""
    minutes = float(os.environ.get("FAULT_MINUTES") or 60)
    seed = int(os.environ.get("FAULT_SEED") or time.time() // 86400)
    chosen = [Cell.parse(text) for text in (os.environ.get("FAULT_CELLS") or "").split(",") if text.strip()]
    cells = chosen or order(list(FAULTS), STAGES, seed)
    names = (os.environ.get("FAULT_HOSTS") or "box-1,box-2").split(",")
    say(f"{len(cells)} cells in {minutes:g} minutes, FAULT_SEED={seed}, results in {OUT}")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "results.jsonl").write_text("")
    began = time.monotonic()
    lanes: list[Lane] = []
    matrix = Matrix(cells, began + minutes * 60)
    try:
        lanes = make_lanes(names, OUT)
        workers = [threading.Thread(target=matrix.work, args=(lane,), daemon=True) for lane in lanes]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        end_all()
        for lane in lanes:
            lane.poller.close()
        if not os.environ.get("FAULT_KEEP"):
            subprocess.run([CTL, "lab", "down", "--purge", "--name", LAB], stdout=subprocess.DEVNULL)
    text = table.matrix(list(FAULTS), matrix.seen)
    (OUT / "table.md").write_text(text)
    say(f"\n{text}\n{len(cells) - len(matrix.seen)} cells were not run; {time.monotonic() - began:.0f} s")
    return 1 if matrix.broken or not matrix.seen or any(seen.wrong for seen in matrix.seen) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
