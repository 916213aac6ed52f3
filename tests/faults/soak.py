"""`make soak`: deploys and rollbacks in turn, a fault in every fifth; exit 1 where anything grows or fails.

Variables: SOAK_DEPLOYS (100), and FAULT_SEED, FAULT_LAB, FAULT_HOSTS (its first), FAULT_OUT (build/soak), FAULT_KEEP as
in matrix.py.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from canaryctl.lab.faults import FAULTS
from faults import levels, looks, matrix
from faults.cells import Cell, last_line
from faults.command import Command, end_all
from faults.lane import CTL, ENVIRONMENT, ROOT, Lane
from faults.matrix import LAB, say
from faults.trial import back, new_image, try_cell

OUT = Path(os.environ.get("FAULT_OUT") or ROOT / "build" / "soak")
# Those that take their time in each of these; a rollback has its own.
STAGES = ("render", "migrate", "start", "probe", "collect")
_ON_HOST = """
pids=$(pidof dockerd containerd)
awk '/^VmRSS/ {sum += $2} END {print sum / 1024}' $(for pid in $pids; do echo /proc/$pid/status; done)
ls /proc/$(pidof dockerd)/fd | wc -l
ls -d /proc/[0-9]* | wc -l
du -sk /opt/canaryctl | cut -f1
find /tmp /dev/shm /var/tmp -mindepth 1 -maxdepth 1 -not -name 'systemd*' -not -name '.*' -not -name 'runc*' | wc -l
du -sm /var/lib/docker | cut -f1
docker ps -aq | wc -l
docker images -aq | sort -u | wc -l
docker volume ls -q | wc -l
docker network ls -q | wc -l
"""


def measured(lane: Lane, command: Command | None) -> dict[str, float]:
    """One measure of each level."""
    runs = sorted((lane.folder / "runs" / ENVIRONMENT).glob("2*"))
    cache = Path(lane.env["XDG_CACHE_HOME"])
    here = [
        command.peak if command else 0.0,
        float(command.descriptors) if command else 0.0,
        _size(runs[-1]) / 1024 if runs else 0.0,
        (_size(cache) - _size(cache / "canaryctl" / "layers")) / (1 << 20),  # 20 GB of layers are kept on purpose
        float(len(list((lane.folder / "tmp").iterdir()))),
        float(sum(what.startswith("here: process") for what in looks.leftovers(lane))),
    ]
    there = [float(word) for word in lane.in_host(_ON_HOST).split()]
    return dict(zip(levels.SLACK, [*here, *there], strict=True))


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def one(lane: Lane, number: int, chance: random.Random) -> tuple[Command | None, str]:
    """Deploy, or go back, with a fault in every fifth; what went wrong, or ''."""
    backwards = number % 2 == 0
    if number % 5 == 0:
        cell = Cell(chance.choice(list(FAULTS)), "rollback" if backwards else chance.choice(STAGES))
        seen = try_cell(lane, cell)
        return None, "; ".join(seen.wrong) and f"{cell}: {'; '.join(seen.wrong)}"
    if backwards:
        attempt = back(lane)
        argv, wanted = attempt.argv, attempt.new
    else:
        wanted = lane.next_version()
        argv = ["deploy", ENVIRONMENT, "--yes"]
        if number % 4 == 1:
            argv += ["--image", f"web={new_image(lane, 4_000_000)}"]
    command = Command(lane, argv)
    done = command.wait(300)
    if done is None or done.code:
        lane.make_well()
        return command, f"{argv[0]}: exit {done.code if done else 'none'}, {last_line(command.said)}"
    if not lane.poller.wait_for([wanted], 10):
        return command, f"{argv[0]} passed, and {lane.poller.page() or 'nothing'} serves, not {wanted}"
    lane.remember(wanted, done)
    return command, ""


def main() -> int:
    """Returns the exit code."""
    deploys = int(os.environ.get("SOAK_DEPLOYS") or 100)
    seed = int(os.environ.get("FAULT_SEED") or time.time() // 86400)
    chance = random.Random(seed)  # noqa: S311  no secret
    say(f"{deploys} deploys and rollbacks, FAULT_SEED={seed}, results in {OUT}")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "results.jsonl").write_text("")
    measures: dict[str, list[float]] = {name: [] for name in levels.SLACK}
    wrong: list[str] = []
    lanes: list[Lane] = []
    try:
        lanes = matrix.make_lanes((os.environ.get("FAULT_HOSTS") or "box-1").split(",")[:1], OUT)
        (lane,) = lanes
        lane.env["XDG_CACHE_HOME"] = str(lane.folder / "cache")
        for number in range(1, deploys + 1):
            command, trouble = one(lane, number, chance)
            values = measured(lane, command)
            for name, value in values.items():
                if command or name not in levels.OF_COMMAND:
                    measures[name].append(value)
            wrong += [f"{number}: {trouble}"] if trouble else []
            with (OUT / "results.jsonl").open("a") as file:
                file.write(json.dumps({"number": number, "wrong": trouble, **values}) + "\n")
            say(f"{number:>4} {trouble or 'ok'}")
            lane.poller.forget()
    finally:
        end_all()
        for lane in lanes:
            lane.poller.close()
        if not os.environ.get("FAULT_KEEP"):
            subprocess.run([CTL, "lab", "down", "--purge", "--name", LAB], stdout=subprocess.DEVNULL)
    text = levels.plot(measures)
    (OUT / "plot.txt").write_text(text)
    say("\n".join(["", text, *wrong]))
    return 1 if wrong or not all(levels.level(name, values) for name, values in measures.items()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
