"""Compose and Docker as the modules of this role call them. Python 3.8, standard library."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

# Everything else stays out: compose prefers the process environment to the env file, and a shell's leftovers are no
# part of a release.
KEPT = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT")
HANGS = "Docker does not answer any more"
WATCH_EVERY = 60.0  # seconds of a command between two looks whether Docker still answers
PATIENCE = 60.0  # seconds that Docker has to do so
_PROGRESS = re.compile(
    r"^\s*(Container|Network|Volume|Image)\s+\S+\s+"
    r"(Creating|Created|Recreate|Recreated|Starting|Started|Running|Waiting|Healthy|Stopping|Stopped|Removing|Removed"
    r"|Error|Exited)\s*$"
)


_ENDS = ("Created", "Recreated", "Started", "Running", "Healthy", "Stopped", "Removed", "Error", "Exited")


class Abandoned(Exception):  # noqa: N818  not a fault: the operator has gone
    """Nobody wants this work any more: see STOPS."""


def caller_gone() -> bool:
    """Whether the connection that started this module was closed."""
    caller = select.poll()
    caller.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in caller.poll(0))


# What ends the commands that run here before their time; the keeper, whom no connection started, has its own.
STOPS: list[Callable[[], bool]] = [caller_gone]


def kept_environment() -> dict[str, str]:
    """What commands are run with."""
    return {**{name: os.environ[name] for name in KEPT if name in os.environ}, "LC_ALL": "C.UTF-8"}


def run(
    argv: list[str], timeout: float | None = None, *, source: BinaryIO | None = None, sink: BinaryIO | None = None
) -> tuple[int, str, str]:
    """Run a command: exit code, standard output, standard error. Code 124 where it took longer than `timeout` seconds.

    One of Docker's is ended with that code, too, where Docker does not answer any more: it would wait for ever.
    `source` is a file to read as standard input; `sink` one that gets standard output, of which nothing is returned.
    Ends the command when the connection that started this module goes away, so that an interrupted operator leaves
    nothing running behind; raises Abandoned then.
    """
    env = kept_environment()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(argv, stdin=source or subprocess.DEVNULL, stdout=sink or out, stderr=err, env=env)
        deadline = time.monotonic() + timeout if timeout else None
        pause, gone, late, fault = 0.01, False, False, ""
        look = time.monotonic() + WATCH_EVERY
        while child.poll() is None and not gone and not late:
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)
            gone = any(stop() for stop in STOPS)
            if deadline is not None and time.monotonic() > deadline:
                late, fault = True, f"no end within {timeout:g} s"
            elif argv[0] == "docker" and time.monotonic() > look:
                try:
                    late = hangs()
                except Abandoned:
                    gone = True
                fault, look = HANGS, time.monotonic() + WATCH_EVERY
        if gone or late:
            _end(child)
        if gone:
            raise Abandoned
        out.seek(0)
        err.seek(0)
        code, words = 124 if late else child.returncode, err.read().decode("utf-8", "replace")
        if late:
            words += f"\n{fault}"
        return code, out.read().decode("utf-8", "replace"), words


def hangs() -> bool:
    """Whether Docker takes questions and answers none. Raises Abandoned."""
    return run(["docker", "version", "--format", "{{.Server.Version}}"], PATIENCE)[0] == 124


def _end(child: subprocess.Popen) -> None:
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        child.send_signal(sign)
        try:
            child.wait(5)
            return
        except subprocess.TimeoutExpired:
            continue


def compose(project: str, directory: str, env_file: str) -> list[str]:
    """The beginning of a compose command for the release in `directory`.

    Where there is no env file an empty one is named: compose would look for `.env` beside compose.yml otherwise, which
    no release has and somebody may have written.
    """
    argv = ["docker", "compose", "--ansi", "never", "--project-name", project]
    argv += ["--file", str(Path(directory) / "compose.yml")]
    return [*argv, "--env-file", env_file if env_file and Path(env_file).exists() else os.devnull]


def complaint(stderr: str, lines: int = 8) -> str:
    """What a command complained about: its last lines, without compose's progress."""
    kept = [line.strip() for line in stderr.splitlines() if line.strip() and not _PROGRESS.match(line)]
    return "\n".join(kept[-lines:])


def unended(what: str, stderr: str) -> str:
    """That a command of compose's took too long, and what it was at."""
    fault = complaint(stderr, 1)
    last = {
        tuple(words[:2]): words[-1] for words in (line.split() for line in stderr.splitlines() if _PROGRESS.match(line))
    }
    at = [f"{doing.lower()} {kind.lower()} {name}" for (kind, name), doing in last.items() if doing not in _ENDS]
    return f"{what}: {fault}" + (f" (at: {', '.join(at)})" if at else "")


def fault_of(error: OSError) -> str:
    """What an OSError is about: a file that cannot be read or written, or else Docker."""
    if error.errno is None or error.filename == "docker":
        return f"Docker does not answer: {error}"
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)


def inspect(project: str) -> list[dict]:
    """`docker inspect` of every container of a compose project, one-off containers left out."""
    label = f"label=com.docker.compose.project={project}"
    code, out, err = run(["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", label], 60)
    if code:
        raise OSError(complaint(err))
    if not out.split():
        return []
    # A container may vanish in between; inspect then fails for it but still prints the others.
    code, found, err = run(["docker", "inspect", *out.split()], 60)
    if code == 124:  # not that there are none
        hang = [name for name in out.split() if run(["docker", "inspect", name], 5)[0] == 124]
        about = f" about container {', '.join(name[:12] for name in hang)}" if hang else ""
        raise OSError(f"{complaint(err)}{about}")
    oneoff = "com.docker.compose.oneoff"
    return [c for c in json.loads(found or "[]") if c["Config"]["Labels"].get(oneoff, "False") != "True"]


def service_of(container: dict) -> str:
    """The compose service of an inspected container."""
    return container["Config"]["Labels"].get("com.docker.compose.service", "")
