"""An operation that is under way while the deploy replaces its container is drained, resumed and completed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Box, Ctl
from toy import Toy, tells

pytestmark = pytest.mark.lab

HOST = "canary-1"
# Counts for as long as it is asked to. On SIGTERM it takes longer to save itself than Docker allows without being told.
SERVER = """\
import json, os, pathlib, signal, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATE = pathlib.Path("/data/operation.json")
operation = json.loads(STATE.read_text()) if STATE.exists() else {"left": 0, "drained": 0}

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/start/"):
            operation["left"] = int(self.path.split("/")[-1])
        body = json.dumps({**operation, "done": operation["left"] <= 0}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET

def drain(*_):
    time.sleep(12 if operation["left"] > 0 else 0)
    operation["drained"] += 1
    STATE.write_text(json.dumps(operation))
    os._exit(0)

signal.signal(signal.SIGTERM, drain)
threading.Thread(target=ThreadingHTTPServer(("", 8000), Handler).serve_forever, daemon=True).start()
while True:
    time.sleep(1)
    operation["left"] -= 1
"""
PROBES = """\
- name: Survives
  kind: lifecycle
  on: all
  across: deploy
  start: {url: "http://{{ address }}:18842/start/SECONDS"}
  status: {url: "http://{{ address }}:18842/", until: done, every: 1s, timeout: 3m}
  cancel: {url: "http://{{ address }}:18842/start/0"}
  confirm: {url: "http://{{ address }}:18842/", expect: {jmespath: "drained >= `DRAINED`"}}
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A toy whose service keeps an operation in its volume, and 40 s of grace to do so."""
    made = Toy(tmp_path_factory.mktemp("crossing"), "toycross", 18842, ctl, box)
    made.environment("one", HOST, variables={"all": {"canary_on_failure": "keep"}})
    made.write("server.py", SERVER)
    made.edit("stack.yml", "start_timeout: 30", "start_timeout: 120\nassets: [server.py]")
    made.edit("compose.yml.j2", '[python3, -m, http.server, "8000"]', "[python3, /srv/server.py]")
    made.edit("compose.yml.j2", "stop_grace_period: 1s", "stop_grace_period: 40s\n    environment: {BUILD: one}")
    made.edit("compose.yml.j2", "[data:/data]", '[data:/data, "./assets/server.py:/srv/server.py:ro"]')
    try:
        yield made
    finally:
        made.clean()


def deploy(toy: Toy, seconds: int, build: str, drained: int = 0, code: int = 0) -> dict[str, Any]:
    """Deploy a build, with an operation of so many seconds; the probe's row."""
    toy.write("probes.yml", PROBES.replace("SECONDS", str(seconds)).replace("DRAINED", str(drained)))
    back = toy.edit("compose.yml.j2", "BUILD: one", f"BUILD: {build}")
    try:
        done = toy.deploy("one")
    finally:
        back()
    assert done.code == code, done.text[-3000:]
    (row,) = done.document["probes"]
    return dict(row)


def test_where_nothing_serves_it_is_an_ordinary_lifecycle(toy: Toy) -> None:
    assert deploy(toy, 1, "one")["reason"].startswith("completed in")


@pytest.fixture
def serving(toy: Toy) -> None:
    """A release serves, of the test before or this one."""
    if not toy.box(HOST).run("docker ps -q --filter name=^toycross-").strip():
        deploy(toy, 1, "one")


@pytest.mark.usefixtures("serving")
def test_it_is_drained_within_the_services_own_grace_and_goes_on(toy: Toy) -> None:
    row = deploy(toy, 60, "two", drained=1)
    assert row["reason"].startswith("survived the deploy: completed"), row["reason"]
    assert "1 container started meanwhile" in row["reason"]


@pytest.mark.usefixtures("serving")
def test_one_that_is_over_before_the_new_release_is_up_proves_nothing(toy: Toy) -> None:
    row = deploy(toy, 1, "three", code=4)
    assert row["verdict"] == "inconclusive" and "give it more to do" in row["reason"], row["reason"]


@pytest.mark.usefixtures("serving")
def test_one_that_the_release_before_cannot_begin_is_judged_afterwards(toy: Toy) -> None:
    toy.box(HOST).run("docker stop -t 0 toycross-one-web-1")
    assert deploy(toy, 1, "four")["reason"].startswith("completed in")


@pytest.mark.usefixtures("serving")
def test_a_deploy_that_fails_cancels_it(toy: Toy) -> None:
    toy.write("probes.yml", PROBES.replace("SECONDS", "600").replace("DRAINED", "0"))
    back = toy.edit("compose.yml.j2", "python3, /srv/server.py", "python3, /srv/nothing.py")
    try:
        done = toy.deploy("one")
        tells(done, 6)
        assert any("'Survives' was under way" in note for note in done.document["notes"]), done.document["notes"]
    finally:
        back()
