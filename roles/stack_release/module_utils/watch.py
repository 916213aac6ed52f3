"""Hear from Docker which services stop and serve while something is done to them. Python 3.8, standard library."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.compose_cli import kept_environment, service_of
from ansible.module_utils.outage import checked_services, gaps, serving_of, started_at, told

NOTE_FILE = "away.json"  # beside the keeper: what serves and what is away, as it happens
_TOLD = ("kill", "die", "stop", "start", "health_status")
_LATE = 5.0  # seconds after which an event is dated by its arrival: the clock was set meanwhile


class Watch:
    """From its beginning until it is closed; a context.

    Docker keeps its last 256 events, and each health check makes three: asked for afterwards, those of a long start are
    gone. What is heard is noted at once, so that another look goes on from there whatever ends this one.

    Args:
        projects: whose containers count.
        before: containers of the first project as they are.
        seconds: after which nobody listens any more, should this process be killed.
        note: file for the next look; None for none.
    """

    def __init__(self, projects: list[str], before: list[dict], seconds: float, note: Path | None) -> None:
        self.projects, self.before, self.note = projects, before, note
        self.carried = read_note(note)
        self.deaf = {container["Id"] for container in before if is_deaf(container)}
        self.events: list[dict] = []
        self.lost: float | None = None
        self.closing = False
        self.began, self.monotonic = time.time(), time.monotonic()
        self.write(serving_of(before), {}, before)
        # Docker takes whole seconds here, so the first one may hold what came before.
        argv = ["docker", "events", "--since", str(int(self.began)), "--until", str(int(self.began + seconds))]
        argv += ["--filter", "type=container", "--format", "{{json .}}"]
        argv += [part for what in _TOLD for part in ("--filter", f"event={what}")]
        nothing, env = subprocess.DEVNULL, kept_environment()
        self.child = subprocess.Popen(argv, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing, env=env)
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def now(self) -> float:
        """The time, whatever the clock was set to since."""
        return self.began + time.monotonic() - self.monotonic

    def listen(self) -> None:
        for line in self.child.stdout or ():
            with contextlib.suppress(ValueError, LookupError, TypeError):
                self.take(json.loads(line))
        if not self.closing:
            self.lost = self.now()

    def take(self, event: dict) -> None:
        """An event that Docker tells."""
        moment = event["timeNano"] / 1e9
        of_ours = event["Actor"]["Attributes"].get("com.docker.compose.project") in self.projects
        if not of_ours or moment < self.began:
            return
        if abs(moment - self.now()) > _LATE:
            event["timeNano"] = self.now() * 1e9
        self.events.append(event)
        checked = checked_services(self.before, None, self.events)
        found, up = told(self.before, self.events, checked, self.deaf)
        self.write(up, found, self.before)

    def close(self) -> None:
        """Listen no more."""
        self.closing = True
        self.child.kill()
        self.child.wait()
        self.listener.join(5)

    def gaps(self, after: list[dict] | None, *, whole: bool = False) -> dict[str, dict[str, float | None]]:
        """What came of it, see `outage.gaps`; listens no more, and leaves a note of what is still away.

        `whole` where nothing else is to serve than what is there.
        """
        self.close()
        if whole:
            there = {service_of(container) for container in after or []}
            self.carried = {kind: {n: t for n, t in ones.items() if n in there} for kind, ones in self.carried.items()}
        known: dict[str, Any] = {"began": self.began, "lost": self.lost, "carried": self.carried, "deaf": self.deaf}
        found = gaps(self.before, self.events, after, **known)
        self.write(serving_of(after or []), found, after or [])
        return found

    def write(self, up: dict[str, set[str]], found: dict[str, dict[str, Any]], known: list[dict]) -> None:
        """Note what serves, with its start as far as that is known, and since when what does not."""
        if self.note is None:
            return
        away = {name: gap["from"] for name, gap in found.items() if gap["until"] is None and gap["from"] is not None}
        starts = {container["Id"]: started_at(container) for container in known}
        served = {
            name: min(starts.get(one, 0.0) for one in ids) for name, ids in up.items() if ids and name not in away
        }
        for name, since in {**self.carried["served"], **self.carried["away"]}.items():
            if name not in served and (name not in found or found[name]["until"] is None):
                away.setdefault(name, since)
        write_note(self.note, served, away)


def write_note(path: Path, served: dict[str, float], away: dict[str, float]) -> None:
    """Leave for the next look which services serve and when they were started, and since when others are away."""
    new = path.with_name(path.name + ".new")  # the same each time: what is cut off leaves one at most
    try:
        new.write_text(json.dumps({"served": served, "away": away}), encoding="utf-8")
        new.replace(path)
    except OSError:  # no room
        with contextlib.suppress(OSError):
            new.unlink()


def read_note(path: Path | None) -> dict[str, dict[str, float]]:
    """What an earlier look left: `away`, since when services are away; `served`, when the others last served, and
    `started`, when those were started."""
    found: dict[str, dict[str, float]] = {"away": {}, "served": {}, "started": {}}
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        if path is not None:
            note, when = json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime
            found["away"] = {str(name): float(since) for name, since in note["away"].items()}
            found["started"] = {str(name): float(started) for name, started in note["served"].items()}
            found["served"] = dict.fromkeys(found["started"], when)
    return found


def beat(path: Path) -> None:
    """What the note says serves does so still, as far as is known."""
    with contextlib.suppress(OSError):
        os.utime(path)


def rest(path: Path) -> None:
    """Nobody looks after what serves any more: what stops now is none of the change's."""
    write_note(path, {}, read_note(path)["away"])


def is_deaf(container: dict) -> bool:
    """Whether a container serves on until it is killed: a first process gets no signal that it does not handle."""
    state, asked = container["State"], str(container["Config"].get("StopSignal") or "SIGTERM")
    try:
        number = int(asked) if asked.isdigit() else int(signal.Signals["SIG" + asked.upper().replace("SIG", "", 1)])
        text = Path(f"/proc/{state['Pid']}/status").read_text(encoding="utf-8")
    except (OSError, LookupError, ValueError):
        return False
    masks = dict(line.split(":", 1) for line in text.splitlines() if line.startswith("Sig"))
    handled = int(masks.get("SigCgt", "f"), 16) | int(masks.get("SigBlk", "f"), 16)
    return bool(state["Pid"]) and number < signal.SIGRTMIN and not handled >> (number - 1) & 1
