"""What follows where a run ends badly: where a rollback goes, what history keeps, and each host's own root."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Box, Ctl, Result
from stopping import gone, kill_when, stop_when
from toy import Toy, evidence, tells

pytestmark = [pytest.mark.lab, pytest.mark.whole_lab]

HOST = "canary-1"
SERVES, FAILS = '[python3, -m, http.server, "8000"]', "[sleep, infinity]"


@pytest.fixture(scope="module")
def env(lab_env: dict[str, str], runs_dir: Path) -> dict[str, str]:
    return {**lab_env, "CANARYCTL_RUNS": str(runs_dir)}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("after"), "aftertoy", 18610, ctl, box)
    made.edit("stack.yml", "start_timeout: 30", "start_timeout: 6")
    made.environment("one", HOST)
    made.clean()
    yield made
    made.clean()


@pytest.fixture
def good(toy: Toy) -> Result:
    """A release that passed serves; where it does already, this changes nothing."""
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    return done


def test_where_nothing_passed_the_services_are_left_and_it_is_said(toy: Toy) -> None:
    if toy.history(HOST):
        toy.clean()
    edited = toy.edit("compose.yml.j2", SERVES, FAILS)
    toy.environment("one", HOST, variables={"all": {"canary_on_failure": "keep"}})
    assert toy.deploy("one").code == 6
    toy.environment("one", HOST)
    failed = toy.deploy("one")
    edited()
    assert failed.code == 6 and failed.document["rollback"] is None
    assert any("nothing to go back to" in warning["what"] for warning in failed.document["warnings"])
    assert toy.box(HOST).run(f"docker ps -aq --filter name=^{toy.name}-one-web").strip()


def test_a_stage_is_run_again_by_hand_with_what_the_run_kept(toy: Toy, lab_env: dict[str, str], good: Result) -> None:
    kept = evidence(toy.ctl, good.document) / "ansible" / "start" / "extravars.json"
    variables = json.loads(kept.read_text())
    assert "canary_locks" not in variables and not [name for name in variables if name.startswith("ansible_ssh")]
    replay = subprocess.run(
        [
            *(ROOT / ".venv/bin/ansible-playbook", "-i", toy.folder / "inventories/one", "playbooks/start.yml"),
            *("-e", f"@{kept}"),
        ],
        cwd=ROOT,
        env={**os.environ, **lab_env, "ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert replay.returncode == 0, replay.stdout[-3000:] + replay.stderr[-2000:]


def test_after_an_interruption_a_failing_deploy_goes_back_to_what_passed(
    toy: Toy, env: dict[str, str], good: Result
) -> None:
    slower = toy.edit("compose.yml.j2", "stop_grace_period: 1s", "stop_grace_period: 2s")
    probing = toy.edit("probes.yml", "status: 200", "status: 418")
    stopped = stop_when(toy, env, ["deploy", "one", "--yes"], lambda event: event["type"] == "probe.started")
    assert stopped["verdict"] == "interrupted"
    line = next(line for line in reversed(toy.history(HOST)) if line["who"] != "the host itself")
    assert (line["what"], line["verdict"], line["run"]) == ("deploy", "interrupted", stopped["id"])
    assert line["to"] == stopped["release"]["id"] != good.document["release"]["id"]
    current = f"readlink {toy.root}/current"
    assert gone(lambda: "" if good.document["release"]["id"] in toy.box(HOST).run(current) else "not yet") == ""
    # One that was killed takes nothing back at once: what nobody has judged serves when the next deploy fails.
    kill_when(toy, env, ["deploy", "one", "--yes"], lambda event: event["type"] == "probe.started", 0.3)
    probing()
    assert stopped["release"]["id"] in toy.box(HOST).run(current)
    toy.edit("compose.yml.j2", SERVES, FAILS)
    failed = toy.deploy("one")
    slower()
    assert failed.code == 6, failed.text[-3000:]
    assert failed.document["rollback"]["to"] == good.document["release"]["id"], failed.document["rollback"]
    assert failed.document["rollback"]["verdict"] == "passed"
    assert good.document["release"]["id"] in toy.box(HOST).run(current)
    evidence(toy.ctl, failed.document)


def test_each_host_has_its_own_root(toy: Toy, box: Callable[[str], Box]) -> None:
    other = box("staging-gpu")
    toy.environment("two", HOST, "staging-gpu", variables={"staging-gpu": {"canary_root": "/srv/canary"}})
    try:
        done = toy.deploy("two")
        assert done.code == 0, done.text[-3000:]
        release = done.document["release"]["id"]
        assert release in other.run(f"readlink /srv/canary/{toy.name}/current")
        assert release in box(HOST).run(f"readlink {toy.root}/current")
        lines = [json.loads(line) for line in other.run(f"cat /srv/canary/{toy.name}/history.jsonl").splitlines()]
        assert lines[-1]["verdict"] == "passed"
        other.run(f"test ! -e {toy.root} && test ! -e /srv/canary/{toy.name}/lock")
        status = json.loads(toy.run("status", "two", "--output", "json").out)
        assert status["release"]["id"] == release and status["hosts"]["staging-gpu"]["last"]["verdict"] == "passed"
        assert toy.deploy("two").document["plan"]["changes"] == []
        edited = toy.edit("compose.yml.j2", SERVES, FAILS)
        failed = toy.deploy("two")
        edited()
        assert failed.code == 6 and failed.document["rollback"]["verdict"] == "passed"
        assert release in other.run(f"readlink /srv/canary/{toy.name}/current")
        assert toy.run("collect", "two").code == 0
        assert toy.run("down", "two", "--yes").code == 0
        assert not other.run(f"docker ps -q --filter name=^{toy.name}-").strip()
    finally:
        other.run("rm -rf /srv/canary", check=False)


def test_hosts_that_differ_in_the_environments_policy_are_refused(toy: Toy) -> None:
    toy.environment("differs", HOST, "staging-gpu", variables={"staging-gpu": {"canary_on_failure": "keep"}})
    tells(toy.run("plan", "differs"), 2, "canary_on_failure", "staging-gpu", "keep", HOST)
