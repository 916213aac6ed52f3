"""Applying that fails: what failed and why is said, with what the hosts serve now, and what ran goes on running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Box, Ctl, Result
from toy import MIGRATIONS, Toy, evidence, tells

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A toy with migrations on canary-1, deployed and healthy."""
    made = Toy(tmp_path_factory.mktemp("apply"), "toyapply", 18821, ctl, box)
    made.environment("one", "canary-1")
    made.write("stack.yml", (made.folder / "stack.yml").read_text() + MIGRATIONS)
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        assert done.document["migrations"] == {"before": "0001", "after": "0002"}
        yield made
    finally:
        made.clean()


@pytest.fixture
def serving(toy: Toy) -> Iterator[dict[str, str]]:
    """What the host serves before, and must serve after."""
    before = toy.state("canary-1")
    yield before
    assert toy.state("canary-1")["containers"] == before["containers"]
    assert toy.state("canary-1")["files"].splitlines()[0] == before["files"].splitlines()[0]


def failed(done: Result, ctl: Ctl, stage: str, *words: str) -> dict[str, Any]:
    """Exit 6, recorded with the stage that failed and what the hosts serve now."""
    tells(done, 6, *words)
    document = done.document
    assert document["verdict"] == "failed"
    assert [s["name"] for s in document["stages"] if s["status"] == "failed"] == ([stage] if stage else [])
    assert "canary-1: " in document["error"]["hint"] and "running web" in document["error"]["hint"], document["error"]
    assert (evidence(ctl, document) / "hosts/canary-1/logs/web.log").is_file()
    return document


@pytest.mark.usefixtures("serving")
def test_compose_rejects_what_the_template_became(toy: Toy, ctl: Ctl) -> None:
    before = toy.state("canary-1")
    back = toy.edit("compose.yml.j2", "init: true", "init: true\n    memory_limitt: 3")
    try:
        failed(toy.deploy("one"), ctl, "render", "compose rejects", "memory_limitt")
        assert toy.state("canary-1") == before
    finally:
        back()


@pytest.mark.usefixtures("serving")
def test_a_migration_that_fails_leaves_everything_as_it_was(toy: Toy, ctl: Ctl) -> None:
    back = toy.edit("stack.yml", "echo 0002 > /data/revision", "echo no such column >&2; exit 3")
    try:
        document = failed(toy.deploy("one"), ctl, "migrate", "the revision is still 0002", "no such column")
        assert document["migrations"] == {"before": "0002", "after": "0002"}
        assert [s for s in document["stages"] if s["name"] == "start"] == []
    finally:
        back()


@pytest.mark.usefixtures("serving")
def test_a_failed_migration_that_moved_the_revision_says_so(toy: Toy, ctl: Ctl) -> None:
    back = toy.edit("stack.yml", "echo 0002 > /data/revision", "echo 0003 > /data/revision; exit 3")
    try:
        document = failed(toy.deploy("one"), ctl, "migrate", "moved from 0002 to 0003 all the same")
        assert document["migrations"] == {"before": "0002", "after": "0003"}
    finally:
        back()
        toy.box("canary-1").run("docker exec toyapply-one-web-1 sh -c 'echo 0002 > /data/revision'")


@pytest.mark.usefixtures("serving")
def test_a_port_that_is_taken_names_its_holder_before_any_change(toy: Toy, ctl: Ctl, box: Callable[[str], Box]) -> None:
    address = box("canary-1").address
    listener = f"systemd-run --unit toy-port python3 -m http.server 18829 --bind {address}"
    box("canary-1").run(f"{listener}; for i in $(seq 50); do ss -ltn | grep -q :18829 && exit; sleep 0.1; done")
    back = toy.edit("compose.yml.j2", ":18821:", ":18829:")
    before = toy.state("canary-1")
    try:
        document = failed(toy.deploy("one"), ctl, "", "port 18829 of service web is already taken", "python3")
        assert document["changed_from"] is None and toy.state("canary-1") == before
    finally:
        back()
        box("canary-1").run("systemctl stop toy-port")


@pytest.mark.usefixtures("serving")
def test_a_docker_that_hangs_is_told_as_that_and_as_nothing_else(toy: Toy, box: Callable[[str], Box]) -> None:
    again = "kill -CONT $(pidof dockerd)"
    box("canary-1").run(f"kill -STOP $(pidof dockerd); (sleep 90; {again}) >/dev/null 2>&1 &")
    try:
        done = toy.run("plan", "one")
        tells(done, 6, "Docker is installed there and does not answer", "systemctl restart docker")
        assert "port" not in done.err and "provision" not in done.err, done.err
    finally:
        box("canary-1").run(again)


def test_a_service_that_never_becomes_healthy_shows_its_last_words(toy: Toy, ctl: Ctl) -> None:
    back = toy.edit(
        "compose.yml.j2",
        'command: [python3, -m, http.server, "8000"]',
        'command: [sh, -c, "echo where is my model; exec sleep 1000"]',
    )
    more = toy.edit("compose.yml.j2", "start_period: 10s", "start_period: 1s")
    release = toy.run("plan", "one", "--output", "json").document["release"]["id"]
    try:
        tried = toy.deploy("one")
        tells(tried, 6, "web is unhealthy", "Connection refused", "where is my model", "The hosts serve now: canary-1")
        document = tried.document
        stage = next(s for s in document["stages"] if s["status"] == "failed")
        assert stage["name"] == "start"
        assert "Connection refused" in stage["detail"]["services"]["web"]["health_output"]
        assert "where is my model" in stage["detail"]["services"]["web"]["log"]
        assert "where is my model" in (evidence(ctl, document) / "hosts/canary-1/logs/web.log").read_text()
        (last,) = [line for line in toy.history("canary-1") if line["run"] == document["id"]]
        after = toy.history("canary-1")[-1]
        assert (after["what"], after["to"], after["verdict"]) == ("rollback", last["from"], "passed")
        assert (last["what"], last["to"], last["verdict"]) == ("deploy", release, "failed")
        assert last["from"] and last["from"] != release
    finally:
        more()
        back()
        fixed = toy.deploy("one")
    assert fixed.code == 0, fixed.text[-3000:]
    assert [change for change in fixed.document["plan"]["changes"] if change["stage"] == "start"] == []
    assert toy.history("canary-1")[-1]["to"] == last["from"]


@pytest.mark.usefixtures("serving")
def test_a_deploy_of_nothing_leaves_one_verdict_in_the_history(toy: Toy) -> None:
    lines = len(toy.history("canary-1"))
    done = toy.deploy("one")
    assert done.code == 0 and done.document["plan"]["changes"] == []
    (line,) = toy.history("canary-1")[lines:]
    assert (line["what"], line["verdict"], line["run"]) == ("verdict", "passed", done.document["id"])
    assert line["from"] == line["to"] == done.document["release"]["id"]


@pytest.mark.usefixtures("serving")
def test_a_second_failure_does_not_hide_the_first(toy: Toy, ctl: Ctl, box: Callable[[str], Box]) -> None:
    """The host is lost in the very stage that fails, so that nothing can be collected from it."""
    cut = "systemctl stop ssh.socket ssh.service; pkill sshd"
    breaker = f"systemd-run --unit toy-cut sh -c 'until [ -e /data-cut ]; do sleep 0.1; done; rm /data-cut; {cut}'"
    volume = box("canary-1").run("docker volume inspect toyapply-one_data --format '{{.Mountpoint}}'").strip()
    box("canary-1").run(breaker.replace("/data-cut", f"{volume}/cut"))
    back = toy.edit("stack.yml", "echo 0002 > /data/revision", "touch /data/cut; sleep 3; exit 3")
    try:
        done = toy.deploy("one")
        tells(done, 3, "canary-1")
        assert done.document["verdict"] == "error" and done.document["changed_from"]
        assert next(s["name"] for s in done.document["stages"] if s["status"] == "failed") == "migrate"
        evidence(ctl, done.document)
    finally:
        back()
        box("canary-1").run("systemctl stop toy-cut", check=False)
        box("canary-1").mend_ssh()
