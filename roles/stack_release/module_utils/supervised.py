"""Have the keeper of this host change what it serves, and wait for what comes of it. Python 3.8, standard library."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# Each by its name, so that Ansible sends them along: the keeper is made of them.
from ansible.module_utils import (
    applied_secrets,
    atomic,
    change,
    compose_cli,
    current,
    drains,
    envfile,
    held,
    keeper,
    lines,
    outage,
    serving,
    settle,
    started,
    stopping,
    turn,
    watch,
)

PARTS = (
    atomic,
    turn,
    held,
    change,
    settle,
    lines,
    compose_cli,
    current,
    envfile,
    applied_secrets,
    started,
    drains,
    stopping,
    outage,
    watch,
    serving,
    keeper,
)
UNITS = Path("/etc/systemd/system")
_OURS = re.compile(r"^from (?:ansible\.module_utils\.|\.)\w+ import (\([^)]*\)|[^\n]*)\n", re.M)
_PATIENCE = 120.0  # seconds beyond those that the work may take

BOOT_UNIT = """\
[Unit]
Description=canaryctl: bring back what {stack} served before a change that nobody confirmed
After=docker.service network-online.target

[Service]
ExecStart="{python}" -IS "{program}" "{root}" boot "{unit}" "{wants}"
Restart=on-failure
RestartSec=2
"""


class Unnoted(Exception):  # noqa: N818  what the module reports
    """The change cannot be noted, and has not begun."""


def bring_up(wanted: dict) -> dict[str, Any]:
    """As `serving.bring_up`, by the keeper: it goes on when this module's connection is gone.

    Raises:
        Abandoned: the connection is gone, or another change took the place of this one.
        Unnoted: the change has not begun, and says why.
    """
    root = Path(wanted["current"]).parent
    program = root / keeper.FOLDER / "keeper.py"
    try:
        program.parent.mkdir(0o700, exist_ok=True)
        write_program(program)
        begun = begin(root, program, wanted)
    except OSError as error:
        raise Unnoted(f"the change cannot be noted on this host: {error}. Nothing was stopped") from None
    supervise(root, program, begun)
    return result_of(root, begun)


def source() -> str:
    """The keeper's program: its modules joined, without their imports of each other."""
    parts = ["#!/usr/bin/env python3", "from __future__ import annotations"]
    for part in PARTS:
        text = part.__loader__.get_source(part.__name__)
        text = re.sub(r"^from __future__ import annotations\n", "", text, flags=re.M)
        if part is not PARTS[-1]:
            text = text.partition('\nif __name__ == "__main__"')[0]
        parts.append(_OURS.sub("", text))
    return "\n".join(parts)


def write_program(path: Path) -> None:
    """Put the keeper where units start it from, where it is not there as it should be."""
    content = source().encode()
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return
    atomic.write_atomic(path, content, sync=True)


def begin(root: Path, program: Path, wanted: dict) -> dict[str, Any]:
    """Note the change, so that it is known of after a power loss; it takes the place of any other."""
    switch = wanted.get("change") or {}
    run = switch.get("run") or f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(4)}"
    job = {key: wanted[key] for key in ("directory", "project", "env_file", "services", "recreate", "wait_timeout")}
    job.update({key: wanted[key] for key in ("current", "replaces", "locks")})
    job["note"] = str(root / keeper.FOLDER / watch.NOTE_FILE)
    job["env"] = {name: os.environ[name] for name in compose_cli.KEPT if name in os.environ}
    begun = {
        "id": run,
        "run": run,
        "who": switch.get("who") or "",
        "environment": switch.get("environment") or "",
        "to": {"release": Path(wanted["directory"]).name, "project": wanted["project"]},
        "back": switch.get("back"),
        "why": switch.get("why") or "",
        "confirm": switch.get("confirm"),
        "phase": change.BEGUN,
        "begun": time.time(),
        "started": None,
        "returning": None,
        "ended": None,
        "result": "",
        "drain": 0.0,
        "away": {},
        "replaced": {},
        "boot": boot_unit_paths(root) if switch and at_boot() else {},
        "job": job,
    }
    path = str(root / change.CHANGE_FILE)
    with contextlib.suppress(OSError):
        (root / keeper.FOLDER / keeper.ANSWER_FILE).unlink()
    with turn.turn(path):
        if not os.path.lexists(path):  # what was stopped since, or before anybody looked, is none of this change's
            with contextlib.suppress(OSError):
                Path(job["note"]).unlink()
        if begun["boot"]:
            enable_at_boot(root, program, begun["boot"])
        try:
            settle.write_change(path, begun)
        except OSError:
            if not os.path.lexists(path):  # else the unit is that change's as well
                keeper.remove(begun["boot"].values())
            raise
    return begun


def at_boot() -> bool:
    """Whether this host has a systemd that we may give a unit to."""
    return os.geteuid() == 0 and Path("/run/systemd/system").is_dir() and UNITS.is_dir()


def boot_unit_paths(root: Path) -> dict[str, str]:
    """The unit that brings the stack back at boot, and the link that enables it."""
    name = f"canaryctl-{root.name}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}.service"
    return {"unit": str(UNITS / name), "wants": str(UNITS / "multi-user.target.wants" / name)}


def enable_at_boot(root: Path, program: Path, paths: dict[str, str]) -> None:
    """As `systemctl enable` does, without systemd's reading all its units anew: they are read at boot."""
    text = BOOT_UNIT.format(stack=root.name, python=sys.executable, program=program, root=root, **paths)
    atomic.write_atomic(paths["unit"], text.encode(), 0o644, sync=True)
    wants = Path(paths["wants"])
    wants.parent.mkdir(exist_ok=True)
    if not wants.is_symlink():
        wants.symlink_to(paths["unit"])
    atomic.sync_directory(wants.parent)


def supervise(root: Path, program: Path, begun: dict[str, Any]) -> None:
    """Start the keeper where it outlives us: under systemd, which starts it again should it die, or in a session."""
    argv = [sys.executable, "-IS", str(program), str(root), begun["id"]]
    if at_boot():
        name = f"canaryctl-{root.name}-{begun['id']}"
        unit = ["systemd-run", "--quiet", "--collect", "--no-block", f"--unit={name}"]
        unit += ["--property=Restart=on-failure", "--property=RestartSec=2", "--property=OOMScoreAdjust=-500"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # systemd does not answer: without it, then
            done = subprocess.run([*unit, *argv], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
            if done.returncode == 0:
                return
    nothing = subprocess.DEVNULL
    # Where the host is the operator's own machine: what goes with their command carries its marks, and this does not.
    env = {name: value for name, value in os.environ.items() if not name.startswith("CANARYCTL_")}
    subprocess.Popen(argv, stdin=nothing, stdout=nothing, stderr=nothing, cwd="/", env=env, start_new_session=True)


def result_of(root: Path, begun: dict[str, Any]) -> dict[str, Any]:
    """Wait for what comes of the change. Raises Abandoned."""
    path = str(root / change.CHANGE_FILE)
    stops = len(begun["job"]["replaces"])
    within = begun["job"]["wait_timeout"] + serving.LEEWAY + stopping.STOP_SECONDS * (1 + stops) + _PATIENCE
    began, drain, pause = time.monotonic(), 0.0, 0.02
    while time.monotonic() < began + within + drain:
        if any(stop() for stop in compose_cli.STOPS):
            raise compose_cli.Abandoned
        found = settle.read_change(path)
        if found is None or found["id"] != begun["id"]:
            raise compose_cli.Abandoned
        if found["phase"] != change.BEGUN:
            return answer_of(root, found)
        drain = found.get("drain") or 0.0  # what the keeper has seen to take its time to stop
        time.sleep(pause)
        pause = min(pause * 1.3, 0.06)
    message = f"the unit that changes what this host serves does not answer: look at {path}, and at the journal"
    return {"failed": True, "changed": True, "msg": message, "canary_gaps": {}}


def answer_of(root: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What the keeper left for us."""
    try:
        answer = json.loads((root / keeper.FOLDER / keeper.ANSWER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # There was no room for it, say: the change itself tells the most important.
        failed = found["phase"] != change.STARTED
        told = found["result"] or f"nothing is left of what came of it; the change is {found['phase']}"
        answer = {"failed": failed, "changed": True, "msg": told if failed else ""}
    return {"canary_gaps": {}, **answer}
