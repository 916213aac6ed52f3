"""One cell: a deploy, a fault in the middle of a stage, and everything that must hold afterwards."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass

from canaryctl.errors import CanaryError
from canaryctl.lab.faults import begin as make_fault
from faults import looks
from faults.cells import ENDS, Cell, Seen, wrong
from faults.command import Command, Event
from faults.lane import ENVIRONMENT, WEB, Done, Lane

BALLAST = 60_000_000  # bytes of an image that no host has
PROVISIONABLE = "DEBIAN_FRONTEND=noninteractive apt-get -qq -y remove docker-compose >/dev/null 2>&1"


@dataclass(frozen=True)
class Attempt:
    """The command that is hit, and the pages that are right before and after it."""

    argv: list[str]
    old: str
    new: str


def try_cell(lane: Lane, cell: Cell) -> Seen:
    """Run a cell on a lane that serves, and say what was seen."""
    seen = Seen(cell, lane.host)
    seen.before = lane.make_well()
    attempt = prepared(lane, cell.stage)
    seen.wanted = (attempt.old, attempt.new)
    lane.poller.forget()
    began = time.monotonic()
    command = Command(lane, attempt.argv)
    _break(lane, cell, command, seen, attempt)
    seen.outage = round(lane.poller.away(began), 1)
    seen.verify = looks.evidence_problem(lane, str(command.document.get("id") or ""))
    seen.lock = looks.lock_problem(lane)
    if cell.stage == "rollback" and seen.code == 0:  # one that has passed has nothing to go back to any more
        again = Done(0, json.dumps(command.document), "")
    else:
        again = lane.run(*attempt.argv, "--output", "json")
    seen.again, seen.again_said = again.code, again.err[-2000:]
    lane.poller.wait_for([attempt.new], 5)
    seen.page = lane.poller.page()
    seen.left = looks.leftovers(lane)
    if again.code == 0:
        lane.remember(attempt.new, again)
    seen.wrong = wrong(seen)
    if seen.wrong:
        seen.state = looks.root_of(lane)[-4000:]
    return seen


def _break(lane: Lane, cell: Cell, command: Command, seen: Seen, attempt: Attempt) -> None:
    """Make the fault when the stage is at its worst moment, and wait for the end of both, and for a page."""
    seen.reached = reach(command, cell.stage, lane, attempt.old)
    running = None
    hit = time.monotonic()
    if seen.reached:
        try:
            running = make_fault(lane.lab, cell.fault, lane.host, cell.seconds)
            hit = running.began
        except CanaryError as error:
            seen.fault = f"not made: {error}"
    done = command.wait(ENDS)
    seen.ended = round(max(0.0, (command.ended or time.monotonic()) - hit), 1)
    seen.code, seen.said = (done.code, done.err[-4000:]) if done else (None, command.said[-8000:])
    stages = command.document.get("stages") or []
    rows = command.document.get("probes") or []
    seen.failed_probes = {row["name"]: list(row["hosts"]) for row in rows if row["verdict"] == "failed"}
    seen.failed_stages = [stage["name"] for stage in stages if stage.get("status") == "failed"]
    if running is not None:
        try:
            running.wait()
        except CanaryError as error:
            seen.fault = f"not undone: {error}"
    looks.wait_for_login(lane)
    looks.serves_by_itself(lane, seen.wanted)
    seen.served = lane.poller.page()


def reach(command: Command, stage: str, lane: Lane, old: str) -> bool:
    """Wait for the worst moment of a stage; False where the command ends before."""

    def begins(*stages: str) -> bool:
        def is_it(event: Event) -> bool:
            return event.get("type") == "stage.started" and event.get("stage") in stages

        return command.until(is_it, 120)

    if stage == "probe":
        return command.until(lambda event: event.get("type") == "probe.started", 120)
    if stage not in ("start", "rollback"):
        found = begins(stage)
        time.sleep({"migrate": 1.5, "provision": 1.0, "push": 0.3}.get(stage, 0))
        return found
    if not begins("start", "rollback"):
        return False
    end = time.monotonic() + 30
    while lane.poller.page() == old and time.monotonic() < end and not command.ended:
        time.sleep(0.02)
    return not command.ended


def prepared(lane: Lane, stage: str) -> Attempt:
    """See to it that the next command goes through the stage, and takes its time there."""
    if stage == "rollback":
        return back(lane)
    old = lane.version
    if stage == "provision":
        lane.in_host(PROVISIONABLE)
    new = lane.next_version(pause=4 if stage == "migrate" else 0, look=4 if stage == "probe" else 0)
    argv = ["deploy", ENVIRONMENT, "--yes"]
    if stage == "push":
        argv += ["--image", f"web={new_image(lane, BALLAST)}"]
    return Attempt(argv, old, new)


def back(lane: Lane) -> Attempt:
    """A rollback by hand to the version before, which is deployed first where there is none."""
    if not [version for version in lane.releases if version != lane.version]:
        version = lane.next_version()
        done = lane.deploy()
        if done.code:
            raise SystemExit(f"{lane.host}: a deploy without a fault failed:\n{done.text[-3000:]}")
        lane.remember(version, done)
    old = lane.version
    new = [version for version in lane.releases if version != old][-1]
    lane.poller.wait_for([old], 10)
    return Attempt(["rollback", ENVIRONMENT, "--to", lane.releases[new][:12], "--yes"], old, new)


def new_image(lane: Lane, ballast: int) -> str:
    """An image that no host has, with so many bytes of its own. The lane's last one goes."""
    name = f"canaryctl-faults-{lane.lab.name}-{lane.host}:test"
    recipe = f"FROM {WEB}\nUSER 0\nRUN head -c {ballast} /dev/urandom >/ballast\n"
    subprocess.run(["docker", "rmi", name], capture_output=True)
    build = ["docker", "build", "-q", "--no-cache", "-t", name, "-"]
    subprocess.run(build, input=recipe.encode(), check=True, capture_output=True)
    return name
