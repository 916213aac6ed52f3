"""A host that goes silent in the middle of a stage: noticed in time, interrupted in time, and left in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Box, Ctl, processes_mentioning
from stopping import begins, begun, ended, gone
from toy import Toy

pytestmark = pytest.mark.lab

NOTICED = 30.0  # seconds
STOPPED = 10.0
SLOW = ("[python3, -m, http.server, ", "[sleep, ")  # never healthy: the start waits for as long as it may


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("silent"), "toysilent", 18841, ctl, box)
    made.environment("one", "canary-1", variables={"all": {"canary_on_failure": "keep"}})
    made.edit("stack.yml", "start_timeout: 30", "start_timeout: 90")
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()


@pytest.fixture
def silent(
    toy: Toy, lab_env: dict[str, str], runs_dir: Path, box: Callable[[str], Box]
) -> Iterator[subprocess.Popen[str]]:
    """A deploy whose host has gone silent in the middle of its start: its kernel acknowledges, nothing answers."""
    container = box("canary-1").container
    back = toy.edit("compose.yml.j2", *SLOW)
    argv = ["deploy", "one", "--yes", "--output", "ndjson"]
    process = begun(toy, {**lab_env, "CANARYCTL_RUNS": str(runs_dir)}, argv)
    seen = begins("start")
    try:
        for line in process.stdout or ():
            if seen(json.loads(line)):
                time.sleep(3)
                break
        subprocess.run(["docker", "pause", container], check=True, capture_output=True)
        yield process
    finally:
        subprocess.run(["docker", "unpause", container], capture_output=True, check=False)
        process.kill()
        process.communicate()
        back()


@pytest.fixture(scope="module")
def big_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image that the host does not have, ten seconds of it."""
    folder, name = tmp_path_factory.mktemp("image"), f"toy-silent:{os.getpid()}"
    (folder / "blob").write_bytes(os.urandom(20_000_000))
    (folder / "Dockerfile").write_text("FROM ktrdr-backend:test\nCOPY blob /blob\n")
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(["docker", "build", "-q", "-t", name, str(folder)], check=True, capture_output=True, env=env)
    yield name
    subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=False)


def test_a_host_that_goes_silent_while_bytes_cross_is_noticed_in_time_and_the_next_push_goes_on(
    toy: Toy, lab_env: dict[str, str], runs_dir: Path, box: Callable[[str], Box], big_image: str
) -> None:
    """Over canaryctl's own connection, whose other end still takes what fits into its kernel's buffers."""
    container, argv = box("canary-1").container, ["push", "one", "--image", f"web={big_image}"]
    env = {**lab_env, "CANARYCTL_RUNS": str(runs_dir)}
    look = "ls -A /opt/canaryctl/.incoming 2>/dev/null || true"
    before = set(box("canary-1").run(look).split())
    process = begun(toy, env, [*argv, "--bwlimit", "2MB", "--output", "ndjson"])
    try:
        for line in process.stdout or ():
            event = json.loads(line)
            if event["type"] == "push.progress" and event["bytes"] > 4_000_000:
                break
        subprocess.run(["docker", "pause", container], check=True, capture_output=True)
        began = time.monotonic()
        err = ended(process, 90)
        seconds = time.monotonic() - began
    finally:
        subprocess.run(["docker", "unpause", container], capture_output=True, check=False)
        process.kill()
    assert process.returncode == 3 and "canary-1" in err and "push" in err, err
    assert seconds < NOTICED + 15, f"{seconds:.1f} s"
    done = toy.run(*argv, "--output", "json")
    (stage,) = [stage for stage in done.document["stages"] if stage["name"] == "push"]
    assert done.code == 0 and stage["resumed"] > 2_000_000, done.text[-2000:]
    assert set(box("canary-1").run(look).split()) <= before


def nothing_left(toy: Toy) -> None:
    playing = ("ansible-playbook", str(toy.folder))
    assert gone(lambda: "\n".join(processes_mentioning(*playing)), 3) == ""
    masters = [line.split()[1] for line in processes_mentioning("ssh: /", "/cp/", "[mux]")]  # other labs' as well
    assert [socket for socket in masters if not Path(socket).exists()] == []


def serves_again(toy: Toy, box: Callable[[str], Box]) -> None:
    subprocess.run(["docker", "unpause", box("canary-1").container], check=True, capture_output=True)
    toy.write("compose.yml.j2", (toy.folder / "compose.yml.j2").read_text().replace(*reversed(SLOW)))
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]


def test_silence_is_noticed_in_time_and_the_next_deploy_passes(
    toy: Toy, silent: subprocess.Popen[str], box: Callable[[str], Box]
) -> None:
    began = time.monotonic()
    err = ended(silent, 90)
    seconds = time.monotonic() - began
    assert silent.returncode == 3 and "canary-1" in err and "start" in err, err
    assert seconds < NOTICED + 15, f"{seconds:.1f} s"  # what follows the notice: one more try to reach the host
    nothing_left(toy)
    serves_again(toy, box)


def test_an_interruption_of_a_silent_stage_ends_in_time(
    toy: Toy, silent: subprocess.Popen[str], box: Callable[[str], Box]
) -> None:
    began = time.monotonic()
    os.killpg(silent.pid, signal.SIGINT)
    err = ended(silent, 60)
    seconds = time.monotonic() - began
    assert silent.returncode == 130 and "Traceback" not in err, err
    assert seconds < STOPPED, f"{seconds:.1f} s"
    nothing_left(toy)
    serves_again(toy, box)


def test_a_second_interruption_ends_at_once_and_the_next_run_completes_the_record(
    toy: Toy, silent: subprocess.Popen[str], box: Callable[[str], Box]
) -> None:
    os.kill(silent.pid, signal.SIGTERM)
    time.sleep(0.8)
    began = time.monotonic()
    os.kill(silent.pid, signal.SIGTERM)
    err = ended(silent, 30)
    assert silent.returncode == 130 and time.monotonic() - began < 2, err
    assert "interrupted again" in err and "Traceback" not in err
    nothing_left(toy)
    serves_again(toy, box)
    listed = toy.run("runs", "list", "one", "--output", "json").document
    interrupted = [run["id"] for run in listed["runs"] if run["verdict"] == "interrupted"]
    assert interrupted and all(toy.run("runs", "verify", run).code == 0 for run in interrupted)
