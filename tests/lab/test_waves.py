"""Waves on three hosts: the first must pass the probes before the others start, and they keep what they had if not."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import CTL, Box, Ctl
from toy import Toy, tells

pytestmark = [pytest.mark.lab, pytest.mark.whole_lab]

FIRST, SECOND, THIRD = HOSTS = ("canary-1", "staging-core", "staging-cpu")
PROBES = """\
- name: Front Page
  kind: http
  on: all
  url: "http://{{ address }}:18841/etc/os-release"
  expect: {status: 200}
  timeout: 3s
- name: Workers Alone
  kind: http
  on: staff
  url: "http://{{ address }}:18841/"
  timeout: 3s
"""
POLICY = {"canary_provision": "auto", "canary_on_failure": "keep", "canary_serial": 1}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A toy on three hosts, one at a time; `staff` is a group that the last alone is in."""
    made = Toy(tmp_path_factory.mktemp("waves"), "toywaves", 18841, ctl, box)
    made.environment("fleet", *HOSTS, variables={"all": POLICY})
    entries = {"servers": {"hosts": {host: {} for host in HOSTS}}, "staff": {"hosts": {THIRD: {}}}}
    made.write("inventories/fleet/hosts.yml", json.dumps(entries))
    made.edit("compose.yml.j2", '"8000"]\n    user', '"8000", --directory, /]\n    user')
    made.write("probes.yml", PROBES)
    try:
        yield made
    finally:
        made.clean()


def current(toy: Toy) -> list[str]:
    """The release that each host serves."""
    return [toy.box(host).run(f"readlink {toy.root}/current") for host in HOSTS]


def goes_back(toy: Toy, release: str) -> None:
    """The second host serves the release before again, and nobody asked it to."""
    url = f"http://{toy.box(SECOND).address}:18841/etc/os-release"
    page = f"python3 -c \"import urllib.request as u; print(u.urlopen('{url}', timeout=1).read().decode())\""
    end = time.monotonic() + 40
    while (toy.history(SECOND)[-1]["who"], toy.history(SECOND)[-1]["what"]) != ("the host itself", "returned"):
        assert time.monotonic() < end, toy.box(SECOND).run(f"cat {toy.root}/change.json")
        time.sleep(0.3)
    assert current(toy)[1] == release and "NAME=" in toy.box(SECOND).run(page)


def waves(document: dict[str, object]) -> list[tuple[str, bool, str | None]]:
    found = document["waves"]
    assert isinstance(found, list)
    return [(" ".join(wave["hosts"]), wave["gate"], wave["verdict"]) for wave in found]


def test_hosts_start_one_after_another_once_the_first_has_passed(toy: Toy) -> None:
    foretold = f"starts in 3 waves: {FIRST} (the gate); {SECOND}; {THIRD}"
    done = toy.deploy("fleet")
    assert done.code == 0, done.text[-3000:]
    assert waves(done.document) == [(FIRST, True, "passed"), (SECOND, False, "passed"), (THIRD, False, "passed")]
    assert foretold in done.document["notes"]
    gate, second, third = done.document["waves"]
    assert gate["probes"] == ["Front Page"], "a probe of a group with no host started yet is left out"
    assert gate["finished"] <= second["started"] and second["finished"] <= third["started"]
    assert done.rows == {"Front Page": "passed", "Workers Alone": "passed"}
    assert toy.deploy("fleet").document["waves"] == []


@pytest.fixture
def serving(toy: Toy) -> None:
    """Every host has a release, of the test before or of this deploy."""
    if not toy.history(FIRST):
        done = toy.deploy("fleet")
        assert done.code == 0, done.text[-3000:]


@pytest.mark.usefixtures("serving")
def test_a_release_that_fails_on_the_first_host_reaches_no_other(toy: Toy) -> None:
    before, states = current(toy), [toy.state(host)["containers"] for host in HOSTS]
    lines = [len(toy.history(host)) for host in HOSTS]
    back = toy.edit("compose.yml.j2", "--directory, /]", "--directory, /tmp]")  # healthy, and wrong
    try:
        done = toy.deploy("fleet")
        tells(done, 1, "the gate did not pass", "Front Page", f"Not started, and as they were: {SECOND}, {THIRD}")
        assert done.document["verdict"] == "failed"
        assert waves(done.document) == [(FIRST, True, "failed"), (SECOND, False, None), (THIRD, False, None)]
        assert done.rows["Front Page"] == "failed" and done.rows["Workers Alone"] == "skipped"
        assert [now == then for now, then in zip(current(toy), before, strict=True)] == [False, True, True]
        assert [toy.state(host)["containers"] for host in HOSTS][1:] == states[1:]
        assert [len(toy.history(host)) > n for host, n in zip(HOSTS, lines, strict=True)] == [True, False, False]
    finally:
        back()


@pytest.mark.usefixtures("serving")
def test_a_host_lost_on_the_way_stops_the_waves_after_it(
    toy: Toy, lab_env: dict[str, str], box: Callable[[str], Box]
) -> None:
    before = current(toy)
    back = toy.edit("compose.yml.j2", "stop_grace_period: 1s", "stop_grace_period: 2s")
    argv = [CTL, "deploy", "fleet", "--yes", "--output", "ndjson", "--runs", str(toy.folder / "runs")]
    process = subprocess.Popen(
        argv, cwd=toy.folder, env=lab_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        events = []
        for line in process.stdout or ():
            events.append(json.loads(line))
            if events[-1]["type"] == "wave.started" and events[-1]["number"] == 2:
                box(SECOND).cut_ssh()
        assert process.wait(timeout=120) == 3
        document = events[-1]["document"]
        assert document["error"]["where"] == SECOND, document["error"]
        assert waves(document) == [(FIRST, True, "passed"), (SECOND, False, "failed"), (THIRD, False, None)]
        assert current(toy)[2] == before[2] and current(toy)[0] != before[0]
    finally:
        box(SECOND).mend_ssh()
        back()


@pytest.mark.usefixtures("serving")
def test_a_host_that_fails_within_the_allowed_share_is_left_behind(toy: Toy) -> None:
    policy = toy.folder / "inventories/fleet/group_vars/all/policy.yml"
    allowed = {"canary_serial": "100%", "canary_max_fail_percentage": 50, "canary_on_failure": "rollback"}
    policy.write_text(json.dumps({**POLICY, **allowed}))
    before = current(toy)
    program = f"\"{{{{ 'false' if host == '{SECOND}' else 'python3' }}}}\""
    back = toy.edit("compose.yml.j2", "[python3, -m", f"[{program}, -m")
    try:
        done = toy.deploy("fleet")
        tells(done, 6, SECOND)
        document = done.document
        assert document["verdict"] == "failed"
        assert waves(document)[1] == (f"{SECOND} {THIRD}", False, "failed")
        assert document["waves"][1]["failed"] == [SECOND]
        assert done.rows == {"Front Page": "passed", "Workers Alone": "passed"}, "the others are judged all the same"
        assert list(next(row for row in document["probes"] if row["name"] == "Front Page")["hosts"]) == [FIRST, THIRD]
        goes_back(toy, before[1])
        assert current(toy)[2] != before[2], "whoever allows a host to fail does not want the others back"
    finally:
        back()
