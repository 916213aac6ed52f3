"""A deploy is cut off while it changes what serves: the host itself sees to it that something good does.

One toy, of a release that is good and one that takes a while to be up; each fault when the page has just gone away.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import LAB, Box, Ctl
from polled import Client
from stopping import begun, ended
from toy import Toy

from canaryctl import lab as labs

pytestmark = pytest.mark.lab

HOST, PORT = "canary-1", 18441
SERVES = 'command: [python3, -m, http.server, "8000"]'
# Serves its version as a page, a moment after it was started.
VERSION = (
    'command: [sh, -c, "mkdir -p /w && cd /w && echo {version} > index.html && sleep {ready} && '
    'exec python3 -m http.server 8000"]\n    restart: unless-stopped'
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("keeper"), "toykeep", PORT, ctl, box)
    made.clean()
    made.environment("one", HOST, variables={"all": {"canary_confirm": "20s"}})
    made.edit("compose.yml.j2", SERVES, VERSION.format(version="v1", ready=0))
    yield made
    made.clean()


@pytest.fixture(scope="module")
def env(lab_env: dict[str, str], runs_dir: Path) -> dict[str, str]:
    return {**lab_env, "CANARYCTL_RUNS": str(runs_dir)}


@pytest.fixture
def client(toy: Toy) -> Iterator[Client]:
    """v1 has passed and serves, and is asked for as long as the test takes."""
    done = toy.deploy("one")
    assert done.code == 0 and page(toy) == "v1", done.text[-3000:]
    with Client(f"http://{toy.box(HOST).address}:{PORT}/") as asking:
        yield asking


@pytest.fixture
def cut(toy: Toy, env: Mapping[str, str], client: Client) -> Iterator[subprocess.Popen[str]]:
    """A deploy of v2 has just taken the page away."""
    back = toy.edit("compose.yml.j2", VERSION.format(version="v1", ready=0), VERSION.format(version="v2", ready=5))
    process = begun(toy, env, ["deploy", "one", "--yes"])
    try:
        assert comes(lambda: page(toy) != "v1", 60)
        yield process
    finally:
        back()
        process.kill()
        process.communicate()


def page(toy: Toy) -> str:
    try:
        return httpx.get(f"http://{toy.box(HOST).address}:{PORT}/", timeout=1).text.strip()
    except httpx.HTTPError:
        return ""


def comes(looked_for: Callable[[], Any], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (found := looked_for()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(found)


def change(toy: Toy) -> dict[str, Any]:
    """What status says of the host."""
    found: dict[str, Any] = toy.run("status", "one", "--output", "json").document["hosts"][HOST]
    return found


def went_back(toy: Toy, client: Client, seconds: float) -> None:
    """v1 serves again within `seconds`, nobody asked; it is in the history, and nothing is left."""
    assert comes(lambda: [line["what"] for line in toy.history(HOST)][-1] == "returned", seconds), toy.history(HOST)
    assert page(toy) == "v1"
    seen, line = client.answers, toy.history(HOST)[-1]
    assert comes(lambda: client.answers > seen, 5)
    assert line["who"] == "the host itself" and line["reason"]
    away = float(line["away"].removeprefix("web ").removesuffix(" s"))
    # Docker looks at the health every 0.3 s, and a look takes as long again on a busy machine: twice, where v2 served.
    assert client.least - 1 <= away <= client.away + 1 + 2 * 0.6, (client.least, client.away, line)
    told = change(toy)
    assert f"out of service meanwhile: {line['away']}" in told["change"]
    assert told["release"] == line["to"] and "went back" in told["change"] and told["drift"] == []
    assert comes(lambda: units(toy) == "", 5), units(toy)


def units(toy: Toy) -> str:
    left = f"pgrep -af '[k]eeper.py {toy.root}'; ls -d /etc/systemd/system/*/canaryctl-{toy.name}-* 2>/dev/null; true"
    return toy.box(HOST).run(left)


def test_a_deploy_that_passes_is_confirmed_and_stays(toy: Toy) -> None:
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    assert any("unless this run confirms within 20 s" in note for note in done.document["notes"])
    assert comes(lambda: units(toy) == "", 5), units(toy)
    assert '"phase": "confirmed"' in toy.box(HOST).run(f"cat {toy.root}/change.json")
    assert change(toy)["change"] == "" and page(toy) == "v1"


def test_the_host_goes_back_where_the_operator_was_killed(toy: Toy, cut: subprocess.Popen[str], client: Client) -> None:
    os.killpg(cut.pid, signal.SIGKILL)
    assert comes(lambda: page(toy) == "v2", 30)  # the replacement is carried out
    went_back(toy, client, 40)


def test_the_host_goes_back_at_once_where_the_operator_interrupts(
    toy: Toy, cut: subprocess.Popen[str], client: Client
) -> None:
    os.killpg(cut.pid, signal.SIGINT)
    assert "Traceback" not in ended(cut, 15) and cut.returncode == 130
    went_back(toy, client, 12)


def test_after_a_power_loss_what_had_passed_serves(toy: Toy, cut: subprocess.Popen[str], client: Client) -> None:
    container = labs.require(LAB).hosts[HOST].container
    subprocess.run(["docker", "kill", container], check=True, capture_output=True)
    try:
        ended(cut, 60)
    finally:
        subprocess.run(["docker", "start", container], check=True, capture_output=True)
    went_back(toy, client, 60)
    assert cut.returncode == 3


def test_the_host_goes_back_once_docker_is_there_again(toy: Toy, cut: subprocess.Popen[str], client: Client) -> None:
    toy.box(HOST).run("systemctl stop docker.service docker.socket")
    try:
        ended(cut, 90)
    finally:
        toy.box(HOST).run("systemctl start docker.socket docker.service")
    assert cut.returncode in (3, 6)
    went_back(toy, client, 60)


def test_then_the_same_deploy_passes_in_one_try(toy: Toy) -> None:
    back = toy.edit("compose.yml.j2", VERSION.format(version="v1", ready=0), VERSION.format(version="v2", ready=0))
    try:
        done = toy.deploy("one")
    finally:
        back()
    assert done.code == 0 and page(toy) == "v2", done.text[-3000:]
    (gap,) = done.document["gaps"]
    assert f"out of service meanwhile: web {gap['seconds']:.1f} s" in done.document["notes"]
    foretold = toy.run("plan", "one", "--output", "json").document["notes"]
    assert any(f"the last time: web {gap['seconds']:.1f} s" in note for note in foretold), foretold
