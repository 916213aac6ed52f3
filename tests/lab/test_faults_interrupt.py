"""Ctrl-C, SIGTERM and SIGKILL in every stage: the next deploy goes on from there; what can be is recorded and ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Box, Ctl, processes_mentioning
from stopping import Event, begins, begun, ended, gone, interrupted, kill_when, stop_when
from toy import MIGRATIONS, Toy

pytestmark = pytest.mark.lab

BIG = f"toy-big:{os.getpid()}"
Edit = tuple[str, str, str]  # file, old text, new text


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A toy with migrations on canary-1, deployed and healthy."""
    made = Toy(tmp_path_factory.mktemp("interrupt"), "toystop", 18831, ctl, box)
    made.environment("one", "canary-1")
    made.write("stack.yml", (made.folder / "stack.yml").read_text() + MIGRATIONS)
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()


@pytest.fixture(scope="module")
def env(lab_env: dict[str, str], runs_dir: Path) -> dict[str, str]:
    return {**lab_env, "CANARYCTL_RUNS": str(runs_dir)}


@pytest.fixture(scope="module")
def big_image() -> Iterator[str]:
    """An image that no host has and that takes a while to send."""
    name = f"toy-big-{os.getpid()}"
    fill = ["-c", "head -c 200000000 /dev/urandom > /big"]
    try:
        subprocess.run(
            ["docker", "run", "--name", name, "--user", "0", "--entrypoint", "sh", "ktrdr-backend:test", *fill],
            check=True,
        )
        subprocess.run(["docker", "commit", name, BIG], check=True, capture_output=True)
        yield BIG
    finally:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=False)
        subprocess.run(["docker", "rmi", "-f", BIG], capture_output=True, check=False)


def resumed(toy: Toy) -> None:
    """The next deploy goes on from whatever it finds, and leaves nothing to do."""
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    planned = toy.run("plan", "one", "--output", "json")
    assert planned.code == 0 and planned.document["plan"]["changes"] == []


COMPOSE = "compose.yml.j2"
# `{by}` differs by test, or the second would find what the first one, which was stopped, had rendered already.
CASES: dict[str, tuple[list[Edit], Callable[[Event], bool]]] = {
    "observe": ([], begins("observe")),
    "render": ([(COMPOSE, "stop_grace_period: 1s", "stop_grace_period: {by}s")], begins("render")),
    "migrate": ([("stack.yml", "echo 0002 >", "sleep 60; echo 0002 >")], begins("migrate")),
    "start": ([(COMPOSE, "[python3, -m, http.server, ", "[sleep, ")], begins("start")),
    "probe": (
        [("probes.yml", "status: 200", "status: 418"), ("probes.yml", "5s", "60s")],
        lambda event: event["type"] == "probe.started",
    ),
    "collect": ([], begins("collect")),
}


@pytest.mark.parametrize("stage", CASES)
def test_ctrl_c_in_each_stage(toy: Toy, env: dict[str, str], box: Callable[[str], Box], stage: str) -> None:
    edits, seen = CASES[stage]
    backs = [toy.edit(file, old, new.format(by=3)) for file, old, new in edits]
    try:
        # These two are over in a moment; the others have time to be in the middle of their work.
        pause = 0 if stage in ("observe", "collect") else 0.3
        document = stop_when(toy, env, ["deploy", "one", "--yes"], seen, pause=pause)
    finally:
        for back in reversed(backs):
            back()
    interrupted(toy, document, box("canary-1"))
    resumed(toy)


@pytest.mark.parametrize("stage", CASES)
def test_killed_in_each_stage_the_next_deploy_converges(toy: Toy, env: dict[str, str], stage: str) -> None:
    """The lock of the killed run does not stand in the way of who started it."""
    edits, seen = CASES[stage]
    backs = [toy.edit(file, old, new.format(by=4)) for file, old, new in edits]
    try:
        kill_when(toy, env, ["deploy", "one", "--yes"], seen, 0 if stage in ("observe", "collect") else 0.3)
        assert gone(lambda: "\n".join(processes_mentioning("ansible-playbook", str(toy.folder)))) == ""
    finally:
        for back in reversed(backs):
            back()
    resumed(toy)


def test_ctrl_c_while_bytes_cross(toy: Toy, env: dict[str, str], big_image: str, box: Callable[[str], Box]) -> None:
    argv = ["deploy", "one", "--yes", "--image", f"web={big_image}"]
    document = stop_when(toy, env, argv, lambda event: event["type"] == "push.progress", pause=0.1)
    interrupted(toy, document, box("canary-1"))
    assert processes_mentioning("docker", "save", "sha256:") == []
    resumed(toy)


def test_ctrl_c_while_a_failure_is_looked_into_keeps_the_failure(
    toy: Toy, env: dict[str, str], box: Callable[[str], Box]
) -> None:
    back = toy.edit(COMPOSE, "init: true", "init: true\n    memory_limitt: 3")
    try:
        document = stop_when(toy, env, ["deploy", "one", "--yes"], begins("collect"), pause=0)
    finally:
        back()
    interrupted(toy, document, box("canary-1"))
    assert any("memory_limitt" in warning["what"] for warning in document["warnings"]), document["warnings"]


def test_sigterm_is_an_interruption_too(toy: Toy, env: dict[str, str], box: Callable[[str], Box]) -> None:
    back = toy.edit("stack.yml", "echo 0002 >", "sleep 60; echo 0002 >")
    try:
        document = stop_when(toy, env, ["deploy", "one", "--yes"], begins("migrate"), signal.SIGTERM)
    finally:
        back()
    interrupted(toy, document, box("canary-1"))
    resumed(toy)


def test_following_logs_ends_on_ctrl_c_and_leaves_nothing_on_the_host(
    toy: Toy, env: dict[str, str], box: Callable[[str], Box]
) -> None:
    process = begun(toy, env, ["logs", "one", "-f"])
    assert process.stdout and "canary-1" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    err = ended(process, 20)
    assert process.returncode == 130 and "Traceback" not in err
    assert gone(lambda: box("canary-1").run("pgrep -af 'compose -p toystop-one log[s]' || true")) == ""
