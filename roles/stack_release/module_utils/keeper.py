"""The unit of a host that changes what it serves, and takes the change back unless somebody confirms it.

A program of its own: `supervised.py` puts it, with the modules it needs, into one file beside the releases. It goes on
when the connection is gone that began the change, is started again when it dies, and at boot while a change is open.
Python 3.8, standard library.

    python3 keeper.py ROOT RUN|boot [UNIT...]
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.atomic import write_atomic
from ansible.module_utils.change import (
    BEGUN,
    CHANGE_FILE,
    FAILED,
    OPEN,
    RETURNED,
    RETURNING,
    STARTED,
    STRANDED,
    away_words,
    lock_state,
    next_step,
)
from ansible.module_utils.compose_cli import STOPS, Abandoned, fault_of, run
from ansible.module_utils.current import Misplaced
from ansible.module_utils.held import read_holder
from ansible.module_utils.lines import append_line
from ansible.module_utils.outage import in_all, replacements
from ansible.module_utils.serving import LEEWAY, bring_up
from ansible.module_utils.settle import advance, read_change, read_whole
from ansible.module_utils.turn import turn
from ansible.module_utils.watch import NOTE_FILE, beat, rest

FOLDER = ".keeper"  # beside the releases: this program, its lock, and its last answer
ANSWER_FILE = "answer.json"
LOOK_EVERY = 0.3  # seconds
BEAT_EVERY = 0.9
DOCKER_EVERY = 3.0  # seconds between two tries to reach Docker
# After a power loss Docker 26 may hold the port of a container that it had only created, until it is started again.
PORT_KEPT = re.compile(r"port is already allocated|address already in use")
PORT_ALLOCATED = re.compile(r":(\d+) failed: port is already allocated")  # says Docker, of its own books
ATTEMPTS = 3  # to bring the earlier release back where Docker answers


class Keeper:
    """One change of one stack on this host, until it is settled or another one takes its place."""

    def __init__(self, root: Path, identity: str, *, booting: bool) -> None:
        self.root, self.identity, self.booting = root, identity, booting
        self.path = root / CHANGE_FILE
        self.change: dict[str, Any] = {}
        self.seen: Any = None
        self.ends = 0.0
        self.note, self.beaten = root / FOLDER / NOTE_FILE, 0.0

    def keep(self) -> None:
        """Carry the change out and see it settled."""
        STOPS[:] = [lambda: not self.is_ours() or self.is_unwanted()]
        with contextlib.suppress(Abandoned):
            if not self.is_ours():
                raise Abandoned
            # By the monotonic clock from here on: the other one may be set meanwhile.
            confirm = self.change["confirm"] or 0.0
            left = min(max(self.change["begun"] + confirm - time.time(), 0.0), confirm)
            self.ends = time.monotonic() + left
            while self.is_ours() and self.step():
                pass
            if self.is_ours():
                rest(self.note)
        self.clear_boot_unit()

    def step(self) -> bool:
        """One step of what is due, a moment's wait where nothing is; False where nothing will be any more."""
        owners = [lock["owner"] for lock in self.change["job"]["locks"]]
        lock = lock_state(read_holder(str(self.root / "lock")), owners)
        due = next_step(self.change, self.ends - time.monotonic(), lock, booting=self.booting)
        if due == "replace":
            with self.alone():
                self.replace()
        elif due == "return":
            with self.alone():
                self.go_back()
        elif due == "strand":
            away = self.change.get("away") or {}
            self.settle(STRANDED, self.change.get("why") or "no other release has passed here", away)
        elif due == "wait":
            time.sleep(LOOK_EVERY)
        return due != "rest"

    def is_ours(self) -> bool:
        """Whether the change is there and no other one took its place; reads it where it was written since."""
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return bool(self.change)
        if (status.st_ino, status.st_mtime_ns) != self.seen:
            found = read_whole(str(self.path))
            if found is None or found["id"] != self.identity:
                return False
            self.seen, self.change = (status.st_ino, status.st_mtime_ns), found
        # What serves does so as long as the host is up; at boot the note says until when that was.
        if not self.booting and time.monotonic() - self.beaten > BEAT_EVERY:
            self.beaten = time.monotonic()
            beat(self.note)
        return True

    def is_unwanted(self) -> bool:
        """Whether its operator has interrupted what is being brought up."""
        return self.change["phase"] == BEGUN and bool(self.change.get("unwanted"))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other keeper brings anything up in here: the one before ends what it runs when it sees our change."""
        handle = self.open_lock()
        try:
            while True:
                if not self.is_ours():
                    raise Abandoned
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    time.sleep(0.05)
            yield
        finally:
            os.close(handle)

    def open_lock(self) -> int:
        """As soon as that can be: the file system may be read-only for a while. Raises Abandoned."""
        while True:
            try:
                return os.open(self.root / FOLDER / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                sys.stderr.write(f"{self.root / FOLDER}: {error}\n")
                self.pause(DOCKER_EVERY)

    def replace(self) -> None:
        """Bring the new release up; what came of it is for the module that waits."""
        if self.booting:
            self.wait_for_docker()
        began = time.monotonic()
        try:
            answer = attempt(self.change["job"], self.foresee)
        except Abandoned:
            if not self.is_ours():
                raise
            answer = {"failed": True, "msg": "interrupted by its operator", "changed": True}
        with contextlib.suppress(OSError):  # no room: change.json says in short what came of it
            write_atomic(self.root / FOLDER / ANSWER_FILE, json.dumps(answer).encode())
        result = str(answer["msg"])[:2000] if answer["failed"] else ""
        phase = FAILED if answer["failed"] else STARTED
        measured = {"away": in_all({}, answer), "replaced": replacements(answer)}
        measured.update(self.prolonged(time.monotonic() - began))
        self.advance((BEGUN,), phase, started=time.time(), result=result, **measured)

    def foresee(self, drain: float) -> None:
        """Whoever waits for us is to wait as much longer."""
        self.advance((BEGUN,), BEGUN, drain=drain)

    def prolonged(self, took: float) -> dict[str, Any]:
        """What stopping took beyond all that a start has is not taken from the time in which it is to be confirmed."""
        over = took - self.change["job"]["wait_timeout"] - LEEWAY
        if over <= 0 or self.change["confirm"] is None:
            return {}
        self.ends += over
        return {"confirm": round(self.change["confirm"] + over, 3)}

    def go_back(self) -> None:
        """Bring the earlier release back; tries until Docker answers, then a few times."""
        if self.advance((*OPEN, RETURNING), RETURNING, returning=time.time()) != RETURNING:
            return
        reason, why, tries, restarted = self.reason(), "", 0, False
        away = self.change.get("away") or {}
        while tries < ATTEMPTS:
            self.wait_for_docker()
            answer = attempt(way_back(self.root, self.change))
            away = in_all(away, answer)
            if not answer["failed"] or answer.get("canary_unnoted"):  # it serves, and the next deploy notes what
                self.settle(RETURNED, reason, {name: seconds for name, seconds in away.items() if seconds is not None})
                return
            if not answers():
                continue
            why, tries = str(answer["msg"]), tries + 1
            kept = (self.booting and PORT_KEPT.search(why)) or keeps_port(why)
            if kept and not restarted and alone_on_docker(self.change):
                restarted = True
                run(["systemctl", "restart", "docker"], 120)
            self.pause(DOCKER_EVERY)
        self.settle(STRANDED, f"the release before does not come back: {why[:1500]}", away)

    def reason(self) -> str:
        """Why the change is taken back, in words."""
        if self.change.get("unwanted"):
            return "interrupted by its operator"
        if self.booting:
            return "the host came up anew before it was confirmed"
        if self.change["result"]:
            return f"it did not start, and nobody put that right: {self.change['result']}"
        return f"not confirmed within {self.change['confirm']:g} s"

    def wait_for_docker(self) -> None:
        """As long as it takes. Raises Abandoned where another change comes meanwhile."""
        while not answers():
            self.pause(DOCKER_EVERY)

    def pause(self, seconds: float) -> None:
        """Wait, but keep no other change waiting. Raises Abandoned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.is_ours():
                raise Abandoned
            time.sleep(0.1)

    def settle(self, phase: str, result: str, away: dict[str, Any]) -> None:
        """The change has come to its end without its operator: note it, for everybody to read."""
        if self.advance((*OPEN, RETURNING), phase, ended=time.time(), result=result, away=away) == phase:
            with contextlib.suppress(OSError):
                append_line(str(self.root / "history.jsonl"), line_of(self.root, self.change))

    def advance(self, phases: tuple[str, ...], phase: str, **values: Any) -> str:
        """Take the change on, unless its operator has settled it meanwhile; the phase that it is in then."""
        while True:
            if not self.is_ours():
                raise Abandoned
            try:
                found = advance(str(self.path), self.identity, phases, phase, **values)
            except OSError as error:  # no room: what is done is done, and noted once there is some
                sys.stderr.write(f"{self.path}: {error}\n")
                self.pause(DOCKER_EVERY)
            else:
                self.is_ours()  # reads it
                return found

    def clear_boot_unit(self) -> None:
        """Nothing is left to be brought back at boot, unless another change has begun."""
        if not self.root.is_dir():
            self.remove_boot_unit()
            return
        with contextlib.suppress(OSError), turn(str(self.path)):
            found = read_change(str(self.path))
            if found is None or found["id"] == self.identity:
                self.remove_boot_unit()

    def remove_boot_unit(self) -> None:
        remove((self.change.get("boot") or {}).values())


def remove(paths: Iterable[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def answers() -> bool:
    """Whether Docker does. Raises Abandoned."""
    try:
        return run(["docker", "ps", "--quiet"], 30)[0] == 0
    except OSError:
        return False


def keeps_port(why: str) -> bool:
    """Whether Docker takes a port for allocated that no container has, as it may after it was killed."""
    port = PORT_ALLOCATED.search(why)
    return bool(port) and run(["docker", "ps", "--quiet", "--filter", f"publish={port[1]}"], 30)[:2] == (0, "")


def alone_on_docker(change: dict[str, Any]) -> bool:
    """Whether nobody else's container runs here."""
    projects = {change["to"]["project"], change["back"]["project"]}
    listed = run(["docker", "ps", "--format", '{{.Label "com.docker.compose.project"}}'], 30)
    return listed[0] == 0 and projects.issuperset(listed[1].splitlines())


def attempt(job: dict[str, Any], foresee: Callable[[float], None] | None = None) -> dict[str, Any]:
    """Bring a release up; what goes wrong is in the answer. Raises Abandoned."""
    try:
        return bring_up(job, foresee)
    except Misplaced as misplaced:
        return {"failed": True, "msg": str(misplaced), "changed": False}
    except OSError as error:
        return {"failed": True, "msg": fault_of(error), "changed": True}


def way_back(root: Path, change: dict[str, Any]) -> dict[str, Any]:
    """The job that brings the earlier release back; its project may be another environment's."""
    back, job = change["back"], change["job"]
    other = [job["project"]] if job["project"] != back["project"] else []
    directory = root / "releases" / back["release"]
    return {**job, "directory": str(directory), "project": back["project"], "replaces": other}


def line_of(root: Path, change: dict[str, Any]) -> dict[str, Any]:
    """The line of the history about a change that its operator has not confirmed."""
    returned = change["phase"] == RETURNED
    stays = change["to"]["release"]
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "who": "the host itself",
        "environment": change["environment"],
        "what": change["phase"],
        "from": release_id(root, stays),
        "to": release_id(root, change["back"]["release"] if returned else stays),
        "verdict": None,
        "run": change["run"],
        "reason": change["result"].partition(": ")[0],  # everybody may read it: what services said stays in the change
        "away": away_words(change["away"]),
    }


def release_id(root: Path, directory: str) -> str | None:
    """The id of the release in a directory; None where it does not say."""
    try:
        found = json.loads((root / "releases" / directory / "release.json").read_text(encoding="utf-8"))["id"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return str(found)


def main(root: str, identity: str, *units: str) -> None:
    """See the module's own words. Where there is no change, `units` that were left for one go."""
    change = read_change(str(Path(root) / CHANGE_FILE))
    if change is None:
        remove(units)
        return
    os.environ.update(change["job"]["env"])
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    booting = identity == "boot"
    Keeper(Path(root), change["id"] if booting else identity, booting=booting).keep()


if __name__ == "__main__":
    main(*sys.argv[1:])
