"""A bad release on a host that serves: the good one serves again, by itself or by hand, and the record says how."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from conftest import CTL, LAB, Box, Ctl
from polled import Client
from toy import MIGRATIONS, Toy, evidence, tells

TOY_SERVES = 'command: [python3, -m, http.server, "8000"]'
SERVES = 'command: [python3, -m, http.server, "8000", --directory, /]'
HEALTH = 'test: [CMD, python3, -m, ktrdr.healthcheck, "8000", /]'


@pytest.fixture(scope="module")
def back(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A stack that serves on canary-1."""
    toy = Toy(tmp_path_factory.mktemp("back"), "backtoy", 18420, ctl, box)
    toy.clean()
    toy.environment("prod", "canary-1")
    toy.write("assets/note.txt", "first\n")
    toy.edit("compose.yml.j2", TOY_SERVES, SERVES)
    toy.edit("probes.yml", ":18420/", ":18420/etc/hostname")
    toy.edit("stack.yml", "start_timeout: 30", "start_timeout: 12\nassets: [assets/]")
    yield toy
    toy.clean()


@pytest.fixture
def proven(back: Toy) -> str:
    """The id of the release that passed last, whatever serves; it is deployed only where there is none."""
    passed: list[str] = [line["to"] for line in back.history("canary-1") if line["verdict"] == "passed"]
    return passed[-1] if passed else deployed(back)


@pytest.fixture
def good(back: Toy, proven: str) -> str:
    """The same, and it serves; it is deployed only where a test before left something else."""
    return proven if current(back) == proven else deployed(back)


def deployed(toy: Toy) -> str:
    """A deploy that passes; its release's id."""
    done = toy.deploy("prod")
    assert done.code == 0, done.text[-3000:]
    return str(done.document["release"]["id"])


def container(toy: Toy) -> str:
    """Id of the container that serves."""
    return toy.box("canary-1").run(f"docker ps -q --no-trunc --filter name=^{toy.name}-prod-web").strip()


def current(toy: Toy) -> str:
    return toy.box("canary-1").run(f"readlink {toy.root}/current").strip().removeprefix("releases/").split("-")[0]


BAD = {
    "a module is missing": ("compose.yml.j2", SERVES, "command: [python3, -m, no_such_module]"),
    "it crashes again and again": ("compose.yml.j2", SERVES, "command: [sh, -c, exit 3]\n    restart: always"),
    "its health is bad": ("compose.yml.j2", HEALTH, HEALTH.replace("/]", "/gone]")),
    "it starts too slowly": ("compose.yml.j2", SERVES, "command: [sleep, '100']"),
}


@contextmanager
def compose_that_says_all_is_well(host: Box) -> Iterator[None]:
    """The host's own, but it ends well whatever became of the services, as it may where its time to wait ends."""
    where = "'{{range .ClientInfo.Plugins}}{{if eq .Name \"compose\"}}{{.Path}}{{end}}{{end}}'"
    real = host.run(f"docker info --format {where}").strip()
    says = f'case " $* " in *" up "*) {real} "$@"; exit 0;; *) exec {real} "$@";; esac'
    folder = "/root/.docker/cli-plugins"
    wrapper = f"{folder}/docker-compose"
    host.run(f"mkdir -p {folder} && printf '#!/bin/sh\\n%s\\n' {shlex.quote(says)} > {wrapper} && chmod 755 {wrapper}")
    try:
        yield
    finally:
        host.run(f"rm {wrapper}; rmdir -p {folder} 2>/dev/null || true")


@pytest.mark.parametrize("fault", BAD)
def test_release_that_does_not_start_makes_way_for_the_one_before(back: Toy, good: str, fault: str) -> None:
    address = back.box("canary-1").address
    undo = back.edit(*BAD[fault])
    host = back.box("canary-1")
    credulous = compose_that_says_all_is_well(host) if fault == "it starts too slowly" else nullcontext()
    try:
        with credulous, Client(f"http://{address}:{back.port}/") as client:
            bad = back.deploy("prod")
    finally:
        undo()
    assert bad.code == 6, bad.text[-3000:]
    assert current(back) == good
    document = bad.document
    assert document["rollback"]["verdict"] == "passed" and document["rollback"]["to"] == good
    (gap,) = document["gaps"]  # from the stop to the earlier release's health, whatever was tried in between
    assert gap == document["rollback"]["gaps"][0] and client.answers
    assert client.least <= gap["seconds"] + 1, (client.least, gap)
    if fault != "its health is bad":  # which has the page back, and says that it is not well
        # Healthy is what Docker has looked at, every 0.3 s here; a look takes as long again on a busy machine.
        assert gap["seconds"] <= client.longest + 1 + 0.6, (client.longest, gap)
    folder = evidence(back.run, document)
    told = f"{gap['seconds']:.1f}"
    assert f"out of service meanwhile: web {told} s" in bad.text, bad.text[-3000:]
    report = (folder / "report.md").read_text()
    assert "Rolled back" in report and good in report and f"| canary-1 | web | {told} |" in report
    assert f"web {told} s<" in (folder / "report.html").read_text()
    again = back.run("runs", "show", document["rollback"]["run"], "--output", "json").document
    assert again["verdict"] == "passed" and [p["verdict"] for p in again["probes"]] == ["passed"]
    assert [line["what"] for line in back.history("canary-1")[-2:]] == ["deploy", "rollback"]


def test_release_that_fails_its_probes_makes_way(back: Toy, good: str) -> None:
    undo = back.edit("compose.yml.j2", SERVES, SERVES.replace(", /]", ", /srv]"))
    back.write("hooks/on-failure", "#!/bin/sh\ncat > told.json\n")
    (back.folder / "hooks/on-failure").chmod(0o755)
    try:
        bad = back.deploy("prod")
    finally:
        undo()
        shutil.rmtree(back.folder / "hooks")
    told = json.loads((back.folder / "told.json").read_text())  # once the good one serves again
    assert (told["verdict"], told["rollback"]["verdict"]) == ("failed", "passed")
    assert bad.code == 1, bad.text[-3000:]
    assert current(back) == good
    assert bad.document["rollback"]["verdict"] == "passed"
    assert [(line["what"], line["verdict"]) for line in back.history("canary-1")[-2:]] == [
        ("verdict", "failed"),
        ("rollback", "passed"),
    ]


def test_failed_migration_leaves_what_serves_alone(back: Toy, good: str) -> None:
    before = container(back)
    undo = back.edit(
        "stack.yml", "start_timeout", MIGRATIONS.replace("echo 0002 > /data/revision", "exit 7") + "start_timeout"
    )
    try:
        bad = back.deploy("prod")
    finally:
        undo()
    assert bad.code == 6, bad.text[-3000:]
    assert container(back) == before and current(back) == good


def test_who_waited_for_another_goes_back_to_what_that_one_brought(back: Toy, good: str) -> None:
    """Not to what the hosts served when it began to wait: that would undo somebody else's deploy."""
    slow = MIGRATIONS.replace("echo 0002 >", "sleep 8; echo 0001 >")
    undo = back.edit("stack.yml", "start_timeout", slow + "start_timeout")
    argv = [CTL, "deploy", "prod", "--yes", "--output", "json"]
    env = {**os.environ, "CANARYCTL_LAB": LAB}
    first = subprocess.Popen(argv, cwd=back.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        held = f"for i in $(seq 200); do [ -e {back.root}/lock/holder.json ] && exit; sleep 0.05; done; exit 1"
        back.box("canary-1").run(held)
        undo()
        undo = back.edit(*BAD["a module is missing"])
        bad = back.deploy("prod", "--wait")
    finally:
        undo()
        told = json.loads(first.communicate(timeout=120)[0])
    assert told["exit_code"] == 0, told["error"]
    assert bad.code == 6 and bad.document["rollback"]["to"] == told["release"]["id"], bad.text[-3000:]
    assert current(back) == told["release"]["id"] != good


def test_policy_keep_keeps_the_bad_one(back: Toy, good: str) -> None:
    back.environment("prod", "canary-1", variables={"all": {"canary_on_failure": "keep"}})
    undo = back.edit(*BAD["a module is missing"])
    try:
        bad = back.deploy("prod")
    finally:
        undo()
        back.environment("prod", "canary-1")
    assert bad.code == 6 and bad.document["rollback"] is None
    assert current(back) != good


def test_by_hand_the_release_that_passed_before_comes_back(back: Toy, proven: str) -> None:
    undo = back.edit("assets/note.txt", "first", "second")
    try:
        second = back.deploy("prod")
    finally:
        undo()
    assert second.code == 0, second.text[-3000:]
    done = back.run("rollback", "prod", "--yes", "--output", "json")
    assert done.code == 0, done.text[-3000:]
    assert done.document["release"]["id"] == proven == current(back)
    assert done.document["command"] == "rollback" and done.rows == {"Front Page": "passed"}
    evidence(back.run, done.document)
    there = second.document["release"]["id"]
    named = back.run("rollback", "prod", "--to", there[:10], "--yes", "--output", "json")
    assert named.code == 0 and current(back) == there


def test_what_cannot_be_gone_back_to_is_refused(back: Toy, good: str) -> None:
    before = back.state("canary-1")
    tells(back.run("rollback", "prod", "--to", "ffff", "--yes"), 2, "no release here begins with 'ffff'")
    tells(back.run("rollback", "prod", "--to", good, "--yes"), 2, "is served already")
    tells(back.run("rollback", "prod"), 2, "not confirmed")
    assert back.state("canary-1") == before


def test_moved_schema_is_not_left_to_old_code(back: Toy, good: str) -> None:
    undo = back.edit("stack.yml", "start_timeout", MIGRATIONS + "start_timeout")
    undo_command = back.edit(*BAD["a module is missing"])
    try:
        bad = back.deploy("prod")
    finally:
        undo_command()
        undo()
    assert bad.code == 6, bad.text[-3000:]
    warning = next(w for w in bad.document["warnings"] if "not rolled back" in w["what"])
    assert "0001" in warning["what"] and "0002" in warning["what"] and "--restore-database" in warning["hint"]
    assert bad.document["rollback"] is None and current(back) != good


def test_failed_first_deploy_removes_what_it_made_and_nothing_else(
    tmp_path: Path, ctl: Ctl, box: Callable[[str], Box]
) -> None:
    toy = Toy(tmp_path, "firsttoy", 18421, ctl, box)
    toy.clean()
    toy.environment("prod", "canary-1")
    toy.edit("stack.yml", "start_timeout: 30", "start_timeout: 12")
    host = box("canary-1")
    host.run("docker volume create firsttoy-kept")
    toy.edit("compose.yml.j2", TOY_SERVES, "command: [python3, -m, no_such_module]")
    try:
        bad = toy.deploy("prod")
        assert bad.code == 6, bad.text[-3000:]
        assert bad.document["rollback"]["to"] is None and bad.document["rollback"]["verdict"] == "passed"
        assert host.run("docker ps -aq --filter name=^firsttoy-").split() == []
        assert host.run("docker volume ls -q | grep ^firsttoy").split() == ["firsttoy-kept"]
        assert host.run("docker network ls --format '{{.Name}}' | grep ^firsttoy || true").split() == []
        assert host.run(f"ls {toy.root}/releases").split() == []
        assert host.run(f"ls {toy.root}").split() == ["history.jsonl", "releases"]
    finally:
        host.run("docker volume rm firsttoy-kept", check=False)
        toy.clean()


@pytest.fixture
def other_image(tmp_path: Path) -> Iterator[Path]:
    """Another image on this machine, `backtoy:other`, and the same in a file."""
    recipe = b"FROM ktrdr-backend:test\nLABEL made.for=test_rollback\n"
    docker("build", "-q", "-t", OTHER, "-", given=recipe)
    docker("save", "-o", str(tmp_path / "other.tar"), OTHER)
    yield tmp_path / "other.tar"
    docker("rmi", "-f", OTHER)


OTHER = "backtoy:other"


def docker(*argv: str, given: bytes = b"") -> None:
    """This machine's."""
    subprocess.run(["docker", *argv], input=given, check=True, capture_output=True, timeout=120)


def test_image_that_was_pruned_by_hand_is_sent_again_or_named(back: Toy, other_image: Path) -> None:
    second = back.deploy("prod", "--image", f"web={OTHER}")
    assert second.code == 0, second.text[-3000:]
    there = second.document["release"]
    assert back.deploy("prod").code == 0
    back.box("canary-1").run(f"docker rmi -f {there['images']['web']['tag']}")

    docker("rmi", "-f", OTHER)
    before = back.state("canary-1")
    tells(back.run("rollback", "prod", "--to", there["id"], "--yes"), 6, "web was removed from the host", "sha256:")
    assert back.state("canary-1") == before

    docker("load", "-i", str(other_image))
    again = back.run("rollback", "prod", "--yes", "--output", "json")
    assert again.code == 0, again.text[-3000:]
    assert current(back) == there["id"]
    assert [s["name"] for s in again.document["stages"] if s["status"] == "changed"] == ["push", "rollback"]
