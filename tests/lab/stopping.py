"""Stop canaryctl in the middle of its work, as a terminal or a service manager does, and look for what it left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from conftest import CTL, Box, processes_mentioning
from toy import Toy, evidence

Event = dict[str, Any]


def begun(toy: Toy, env: Mapping[str, str], argv: list[str]) -> subprocess.Popen[str]:
    """canaryctl in a process group of its own."""
    return subprocess.Popen(
        [CTL, *argv],
        cwd=toy.folder,
        env={**env, "PYTHONFAULTHANDLER": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], timeout: float) -> str:
    """What it says on standard error until it ends; where it does not in `timeout` seconds, what its threads do."""
    try:
        return process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        pytest.fail(f"it goes on: {process.communicate()[1]}")


def stop_when(
    toy: Toy,
    env: Mapping[str, str],
    argv: list[str],
    seen: Callable[[Event], bool],
    sign: int = signal.SIGINT,
    pause: float = 0.3,
) -> dict[str, Any]:
    """Start canaryctl, signal it `pause` seconds after an event satisfies `seen` (SIGINT its group); its document."""
    process = begun(toy, env, [*argv, "--output", "ndjson"])
    events: list[Event] = []
    sent = 0.0
    for line in process.stdout or ():
        events.append(json.loads(line))
        if not sent and seen(events[-1]):
            time.sleep(pause)
            sent = time.monotonic()
            (os.killpg if sign == signal.SIGINT else os.kill)(process.pid, sign)
    err = ended(process, 60)
    assert sent, events
    assert time.monotonic() - sent < 10, f"{time.monotonic() - sent:.1f} s"
    assert process.returncode == 130 and "Traceback" not in err, (process.returncode, err)
    assert "interrupted" in err
    document: dict[str, Any] = events[-1]["document"]
    return document


def kill_when(toy: Toy, env: Mapping[str, str], argv: list[str], seen: Callable[[Event], bool], pause: float) -> None:
    """Start canaryctl and kill it, with all that it started, `pause` seconds after an event satisfies `seen`."""
    process = begun(toy, env, [*argv, "--output", "ndjson"])
    killed, lines = False, []
    for line in process.stdout or ():
        lines.append(line)
        if not killed and line.endswith("\n") and seen(json.loads(line)):
            time.sleep(pause)
            os.killpg(process.pid, signal.SIGKILL)
            killed = True
    _, err = process.communicate(timeout=60)
    assert killed and process.returncode == -signal.SIGKILL, (killed, process.returncode, err, lines[-5:])


def begins(stage: str) -> Callable[[Event], bool]:
    """The event that a stage begins."""
    return lambda event: event["type"] == "stage.started" and event["stage"] == stage


def interrupted(toy: Toy, document: Mapping[str, Any], host: Box) -> None:
    """Recorded as interrupted, and nothing of it runs on, here or on the host."""
    assert (document["verdict"], document["exit_code"]) == ("interrupted", 130)
    assert document["error"]["hint"]
    evidence(toy.ctl, document)
    for words in (("ansible-playbook", str(toy.folder)), (CTL, document["command"], document["environment"])):
        assert gone(lambda words=words: "\n".join(processes_mentioning(*words))) == ""  # type: ignore[misc]
    project = f"{toy.name}-{document['environment']}"
    left = f"pgrep -af '[A]nsiballZ|[c]ompose --ansi never --project-name {project}|[d]ocker load' || true"
    assert gone(lambda: host.run(left)) == ""
    migrating = f"command -v docker >/dev/null && docker ps -q -f name={project}-migrate || true"
    assert gone(lambda: host.run(migrating)) == ""


def gone(look: Callable[[], str], seconds: float = 10) -> str:
    """What is still there after waiting for it to go."""
    end = time.monotonic() + seconds
    while (left := look()) and time.monotonic() < end:
        time.sleep(0.2)
    return left
