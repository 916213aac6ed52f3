"""One run at a time changes a stack on a host, whoever comes second, dies, sleeps or insists."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CTL, Box, Ctl, Result
from stopping import begins, stop_when
from toy import Toy, evidence, tells

pytestmark = [pytest.mark.lab, pytest.mark.whole_lab]

HOST, OTHER = "canary-1", "staging-cpu"
COMPOSE = "compose.yml.j2"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("locks"), "locktoy", 18871, ctl, box)
    made.environment("one", HOST)
    made.environment("other", OTHER)
    made.environment("both", HOST, OTHER)
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()


@pytest.fixture(autouse=True)
def unlocked(toy: Toy) -> Iterator[None]:
    """Each test begins and ends without locks."""
    yield
    for host in (HOST, OTHER):
        toy.box(host).run(f"rm -rf {toy.root}/lock /opt/canaryctl/.lock")


@pytest.fixture
def another_release(toy: Toy) -> None:
    """The next deploy has something to change. It stays, so that the one after it has not."""
    toy.edit(COMPOSE, "services:\n", f"# {time.time()}\nservices:\n")


def holder(toy: Toy, host: str) -> dict[str, Any] | None:
    """holder.json on a host."""
    text = toy.box(host).run(f"cat {toy.root}/lock/holder.json 2>/dev/null || true")
    return json.loads(text) if text.strip() else None


def test_two_at_once_that_wait_both_pass_and_never_overlap(toy: Toy) -> None:
    results: dict[str, Result] = {}

    def deploy(name: str) -> None:
        # Each has a stack folder of its own, so that both have something to change.
        mine = Toy(toy.folder / name, toy.name, toy.port, toy.ctl, toy.box)
        mine.environment("one", HOST)
        mine.edit(COMPOSE, "services:\n", f"# {name} {time.time()}\nservices:\n")
        results[name] = mine.deploy("one", "--wait")

    threads = [threading.Thread(target=deploy, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.code for result in results.values()] == [0, 0], [r.text[-1500:] for r in results.values()]
    documents = [result.document for result in results.values()]
    spans = sorted((found["changed_from"], found["changed_until"]) for found in documents)
    assert all(all(span) for span in spans) and spans[0][1] <= spans[1][0], spans
    events = "".join((Path(found["directory"]) / "events.jsonl").read_text() for found in documents)
    assert events.count('"lock.waiting"') == 1
    assert holder(toy, HOST) is None


def test_a_held_lock_stops_everyone_and_says_why(toy: Toy, another_release: None) -> None:
    before = toy.state(HOST)
    assert toy.run("lock", "acquire", "one", "--message", "disk is being swapped").code == 0
    tells(toy.run("deploy", "one", "--yes"), 5, "disk is being swapped", "locked by", HOST, "lock release one")
    tells(toy.run("down", "one", "--yes"), 5, "disk is being swapped")
    tells(toy.run("lock", "acquire", "one", "--message", "me too"), 5, "disk is being swapped")
    assert "disk is being swapped" in toy.run("lock", "status", "one").out
    assert "disk is being swapped" in toy.run("status", "one").out
    seen = toy.run("status", "one", "--output", "json").document["hosts"][HOST]["lock"]
    assert seen["held"] and seen["ttl"] == 8 * 3600 and not seen["expired"] and "token" not in seen
    assert toy.run("probe", "one").code == 0  # looking is free
    assert toy.run("lock", "release", "one").code == 0
    assert toy.state(HOST) == before
    assert "free" in toy.run("lock", "status", "one").out
    assert toy.deploy("one").code == 0


def test_an_empty_plan_is_stopped_too(toy: Toy) -> None:
    assert toy.deploy("one").code == 0
    assert toy.run("lock", "acquire", "one", "--message", "hands off").code == 0
    tells(toy.run("deploy", "one", "--yes"), 5, "hands off")


def test_only_break_lock_displaces_and_the_record_says_whom(toy: Toy, another_release: None) -> None:
    assert toy.run("lock", "acquire", "one", "--message", "for the audit").code == 0
    done = toy.deploy("one", "--break-lock")
    assert done.code == 0, done.text[-3000:]
    assert any("displaced" in note and "for the audit" in note for note in done.document["notes"])
    assert holder(toy, HOST) is None


def test_somebody_elses_held_lock_is_not_released_by_accident(toy: Toy) -> None:
    assert toy.run("lock", "acquire", "one", "--message", "theirs").code == 0
    toy.box(HOST).run(f'sed -i \'s/"holder": "[^"]*"/"holder": "eve@elsewhere"/\' {toy.root}/lock/holder.json')
    tells(toy.run("lock", "release", "one"), 5, "eve@elsewhere", "theirs", "--break-lock")
    broken = toy.run("lock", "release", "one", "--break-lock")
    assert broken.code == 0 and "eve@elsewhere" in broken.out


def test_on_several_hosts_all_are_locked_or_none(toy: Toy) -> None:
    assert toy.run("lock", "acquire", "other", "--message", "busy there").code == 0
    tells(toy.run("deploy", "both", "--yes"), 5, OTHER, "busy there", "for environment other")
    assert holder(toy, HOST) is None
    tells(toy.run("lock", "acquire", "both", "--message", "mine"), 5, OTHER, "busy there")
    assert holder(toy, HOST) is None


def killed_while_it_waits_for_probes(toy: Toy, env: dict[str, str]) -> str:
    """A deploy that was killed; its run's id. Its lock is still there."""
    backs = [toy.edit("probes.yml", "status: 200", "status: 418"), toy.edit("probes.yml", "5s", "120s")]
    try:
        argv = [CTL, "deploy", "one", "--yes", "--output", "ndjson"]
        child = subprocess.Popen(argv, cwd=toy.folder, env=env, stdout=subprocess.PIPE, text=True)
        run = ""
        for line in child.stdout or ():
            event = json.loads(line)
            run = event["id"] if event["type"] == "run.started" else run
            if event["type"] == "probe.started":
                break
        child.kill()
        child.communicate(timeout=30)
    finally:
        for back in reversed(backs):
            back()
    left = holder(toy, HOST)
    assert left and left["run"] == run and left["environment"] == "one" and left["command"] == "deploy"
    return run


@pytest.fixture
def env(lab_env: dict[str, str], runs_dir: Path) -> dict[str, str]:
    return {**lab_env, "CANARYCTL_RUNS": str(runs_dir)}


def test_a_dead_holders_lock_expires(toy: Toy, env: dict[str, str]) -> None:
    run = killed_while_it_waits_for_probes(toy, env)
    file = f"{toy.root}/lock/holder.json"
    # as if another machine had made it: nobody here knows that it was killed
    toy.box(HOST).run(f'sed -i \'s/"holder": "[^"]*"/"holder": "dev@elsewhere"/\' {file}')
    tells(toy.run("deploy", "one", "--yes"), 5, run, "dev@elsewhere", "--wait")
    toy.box(HOST).run(f'sed -i \'s/"ttl": [0-9.]*/"ttl": 1/\' {file}')
    time.sleep(1)
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    assert any(run in note and "expired" in note for note in done.document["notes"])


def test_who_killed_their_own_run_need_not_wait(toy: Toy, env: dict[str, str], tmp_path: Path) -> None:
    run = killed_while_it_waits_for_probes(toy, env)
    done = toy.deploy("one", "--runs", str(tmp_path))
    assert done.code == 0, done.text[-3000:]
    assert any(run in note and "has ended" in note for note in done.document["notes"])


def test_an_interrupted_run_leaves_no_lock(toy: Toy, env: dict[str, str], another_release: None) -> None:
    stop_when(toy, env, ["deploy", "one", "--yes"], begins("start"))
    assert holder(toy, HOST) is None
    assert toy.deploy("one").code == 0


STEAL = 'sed -i \'s/"owner": "[^"]*"/"owner": "stolen"/; s/"holder": "[^"]*"/"holder": "eve@elsewhere"/\''


def test_who_lost_the_lock_before_the_first_change_changes_nothing(toy: Toy, another_release: None) -> None:
    before, lines = toy.state(HOST), len(toy.history(HOST))
    lock = f"{toy.root}/lock/holder.json"
    thief = threading.Thread(
        target=toy.box(HOST).run, args=(f"while ! [ -e {lock} ]; do sleep 0.02; done; {STEAL} {lock}",)
    )
    thief.start()
    done = toy.deploy("one")
    thief.join()
    tells(done, 5, "eve@elsewhere", "lost its lock")
    assert "stolen" in toy.box(HOST).run(f"cat {lock}"), "it took the thief's lock with it"
    toy.box(HOST).run(f"rm -r {toy.root}/lock")
    assert toy.state(HOST) == before and len(toy.history(HOST)) == lines


@pytest.mark.parametrize("stage", ["render", "start"])
def test_a_stage_under_way_looks_for_the_token_itself(
    toy: Toy, env: dict[str, str], another_release: None, stage: str
) -> None:
    before = toy.state(HOST)
    argv = [CTL, "deploy", "one", "--yes", "--output", "ndjson"]
    child = subprocess.Popen(argv, cwd=toy.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    document: dict[str, Any] = {}
    for line in child.stdout or ():
        event = json.loads(line)
        if event["type"] == "stage.started" and event["stage"] == stage:
            toy.box(HOST).run(f"{STEAL} {toy.root}/lock/holder.json")
        document = event.get("document", document)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 5 and "eve@elsewhere" in said, said[-2000:]
    assert document["verdict"] == "error" and evidence(toy.ctl, document)
    toy.box(HOST).run(f"rm -r {toy.root}/lock")
    after = toy.state(HOST)
    assert after["containers"] == before["containers"]
    assert after["files"].splitlines()[0] == before["files"].splitlines()[0]  # the release in use
    assert (after == before) == (stage == "render")
    assert toy.deploy("one").code == 0


def test_a_sleeper_that_wakes_up_after_its_lock_was_taken_changes_nothing(
    toy: Toy, env: dict[str, str], another_release: None
) -> None:
    argv = [CTL, "deploy", "one", "--yes", "--output", "ndjson"]
    child = subprocess.Popen(
        argv, cwd=toy.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in child.stdout or ():
        if json.loads(line)["type"] == "plan":
            os.killpg(child.pid, signal.SIGSTOP)
            break
    long_ago = 's/"renewed": [0-9.]*/"renewed": 1.5/; s/"up": [0-9.]*/"up": 1.5/'
    toy.box(HOST).run(f"sed -i '{long_ago}' {toy.root}/lock/holder.json")
    assert toy.run("lock", "acquire", "one", "--message", "while it slept").code == 0
    before = toy.state(HOST)
    os.killpg(child.pid, signal.SIGCONT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 5 and "while it slept" in said, said[-2000:]
    assert toy.state(HOST) == before


def test_provisioning_and_pruning_leave_a_locked_host_alone(toy: Toy, another_release: None) -> None:
    host = toy.box(HOST)
    assert toy.run("lock", "acquire", "one", "--message", "another stack's").code == 0
    host.run(f"mv {toy.root}/lock /opt/canaryctl/.lock")
    tells(toy.run("provision", "one", "--yes"), 5, "another stack's")
    assert holder(toy, HOST) is None
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    assert any("nothing was pruned" in note and "another stack's" in note for note in done.document["notes"])
    assert "the whole host" in toy.run("lock", "status", "one").out
