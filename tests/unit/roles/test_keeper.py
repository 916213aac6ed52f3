"""The keeper as a host runs it: one program, in a process of its own, here without any Docker to be found."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from rolemodules import ROLES

from canaryctl.hosts.scratch import make_scratch, mark_of, remove_scratch

supervised = import_module("ansible.module_utils.supervised")
settle = import_module("ansible.module_utils.settle")
compose_cli = supervised.compose_cli  # its own: Ansible, imported by another test, may have brought one of that name
BACK = {"release": "r0-1", "project": "shop-prod"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A stack's directory with two releases, and the keeper's program."""
    found = tmp_path / "shop"
    for number in (0, 1):
        release = found / "releases" / f"r{number}-1"
        release.mkdir(parents=True)
        (release / "compose.yml").write_text("services: {}\n")
        (release / "release.json").write_text(json.dumps({"id": f"r{number}", "environment": "prod"}))
    (found / ".keeper").mkdir()
    supervised.write_program(found / ".keeper" / "keeper.py")
    return found


def begun(root: Path, run: str = "run-1", **more: Any) -> dict[str, Any]:
    """A change to release 1 as the module begins it; there is no Docker on its path."""
    job = {"directory": str(root / "releases" / "r1-1"), "project": "shop-prod", "env_file": "", "services": []}
    job |= {"recreate": True, "wait_timeout": 1, "current": str(root / "current"), "replaces": [], "locks": []}
    known = {"id": run, "run": run, "who": "ann@desk", "environment": "prod", "why": "", "result": "", "boot": {}}
    known |= {"to": {"release": "r1-1", "project": "shop-prod"}, "back": BACK, "confirm": 0.5, "phase": "begun"}
    change = {**known, "begun": time.time(), "job": {**job, "env": {"PATH": str(root / "nowhere")}}, **more}
    settle.write_change(str(root / "change.json"), change)
    return change


@contextmanager
def keeper(root: Path, run: str = "run-1") -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-IS", root / ".keeper" / "keeper.py", root, run])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def change(root: Path) -> dict[str, Any]:
    found = settle.read_change(str(root / "change.json"))
    assert isinstance(found, dict)
    return found


def history(root: Path) -> list[dict[str, Any]]:
    path = root / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until(looked_for: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not (found := looked_for()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_it_is_one_program_for_python_3_8_that_imports_none_of_its_parts() -> None:
    program = supervised.source()
    tree = ast.parse(program, feature_version=(3, 8))
    named = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    named += [t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
    assert [name for name, times in Counter(named).items() if times > 1] == []
    imported = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in imported if name} <= {*sys.stdlib_module_names, "__future__"}


def test_its_parts_are_all_that_its_parts_import() -> None:
    parts = {part.__name__.rpartition(".")[2] for part in supervised.PARTS}
    for name in parts:
        text = (ROLES / "stack_release" / "module_utils" / f"{name}.py").read_text()
        lines = [line.split()[1] for line in text.splitlines() if line.startswith(("from .", "from ansible."))]
        assert {line.rpartition(".")[2] for line in lines} <= parts, name


def test_on_the_operators_own_machine_it_outlives_what_goes_with_their_command(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_scratch(str(tmp_path))
    monkeypatch.setattr(supervised, "at_boot", lambda: False)
    for name, value in mark_of(mine).items():
        monkeypatch.setenv(name, value)
    told = begun(root, phase="started", back=None, confirm=2.0)
    supervised.supervise(root, root / ".keeper" / "keeper.py", told)
    time.sleep(0.3)
    remove_scratch(mine)
    assert until(lambda: change(root)["phase"] == "stranded")


def test_what_fails_is_told_to_the_module_that_waits_and_taken_back_in_time(root: Path) -> None:
    """Docker is away: the host goes on trying until another change comes."""
    told = begun(root, confirm=2.0)
    with keeper(root) as process:
        answer = supervised.result_of(root, told)
        assert answer["failed"] and "Docker does not answer" in answer["msg"] and answer["canary_gaps"] == {}
        assert until(lambda: change(root)["phase"] == "returning")
        begun(root, "run-2", phase="confirmed")
        assert process.wait(10) == 0
    assert history(root) == [] and change(root)["phase"] == "confirmed"


def test_the_module_waits_as_much_longer_as_stopping_may_take(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "_PATIENCE", -359.0)  # together with what it has for ordinary stops: two seconds
    told, done = begun(root, drain=0.0), []
    waiting = threading.Thread(target=lambda: done.append(supervised.result_of(root, told)), daemon=True)
    waiting.start()
    assert settle.advance(str(root / "change.json"), "run-1", ("begun",), "begun", drain=30.0) == "begun"
    waiting.join(3.0)
    assert waiting.is_alive()
    settle.advance(str(root / "change.json"), "run-1", ("begun",), "started")
    waiting.join(5.0)
    assert done[0]["failed"] is False
    begun(root, drain=0.0)
    assert "does not answer" in supervised.result_of(root, told)["msg"]


def test_what_stopping_took_is_not_taken_from_the_time_to_confirm(root: Path) -> None:
    keeping = supervised.keeper.Keeper(root, "run-1", booting=False)
    begun(root, confirm=30.0)
    assert keeping.is_ours() and keeping.prolonged(61.0) == {}
    assert keeping.prolonged(361.0) == {"confirm": 330.0} and keeping.ends == 300.0
    begun(root, confirm=None)
    assert keeping.is_ours() and keeping.prolonged(361.0) == {}


def test_where_nothing_has_passed_the_services_stay_and_the_history_says_so(root: Path) -> None:
    begun(root, back=None, why="it is the first", phase="started", away={"web": 12.34, "store": None})
    with keeper(root) as process:
        assert process.wait(10) == 0
    (line,) = history(root)
    assert (line["what"], line["from"], line["to"], line["verdict"]) == ("stranded", "r1", "r1", None)
    assert (line["run"], line["reason"], change(root)["phase"]) == ("run-1", "it is the first", "stranded")
    assert line["away"] == "store has not come back, web 12.3 s"


def test_what_is_confirmed_meanwhile_stays(root: Path) -> None:
    begun(root, phase="started", confirm=60.0)
    with keeper(root) as process:
        time.sleep(0.3)
        assert process.poll() is None
        assert settle.confirm(str(root / "change.json"), "run-1") == "confirmed"
        assert process.wait(10) == 0
    assert history(root) == []


def test_what_is_just_being_written_is_no_end_of_it(root: Path) -> None:
    """On a full disk the change is written in its place."""
    begun(root, phase="started", back=None, confirm=1.5)
    path = root / "change.json"
    with keeper(root) as process:
        time.sleep(0.5)
        whole = path.read_bytes()
        path.write_bytes(whole[:60])
        time.sleep(0.2)
        path.write_bytes(whole)
        assert process.wait(10) == 0
    assert change(root)["phase"] == "stranded"


def test_a_place_for_its_lock_is_waited_for(root: Path) -> None:
    (root / ".keeper" / "lock").mkdir()
    begun(root, phase="started", confirm=0.2)
    with keeper(root) as process:
        time.sleep(1.5)
        assert process.poll() is None
        (root / ".keeper" / "lock").rmdir()
        assert until(lambda: change(root)["phase"] == "returning")


def test_a_clock_that_is_set_back_prolongs_nothing(root: Path) -> None:
    begun(root, phase="started", back=None, confirm=1.0, begun=time.time() + 86400)
    with keeper(root) as process:
        assert process.wait(10) == 0
    assert change(root)["phase"] == "stranded"


def test_another_runs_lock_is_waited_for(root: Path) -> None:
    holder = root / "lock" / "holder.json"
    holder.parent.mkdir()
    holder.write_text(json.dumps({"owner": "hers", "renewed": time.time(), "ttl": 60}))
    begun(root, phase="started", back=None, confirm=0.1)
    with keeper(root) as process:
        time.sleep(1.5)
        assert change(root)["phase"] == "started"
        holder.unlink()
        assert process.wait(10) == 0
    assert change(root)["phase"] == "stranded"


def test_at_boot_it_acts_at_once_and_leaves_no_unit(root: Path) -> None:
    unit, wants = root / "unit", root / "wants"
    unit.write_text("")
    wants.symlink_to(unit)
    begun(root, phase="started", back=None, confirm=600.0, boot={"unit": str(unit), "wants": str(wants)})
    with keeper(root, "boot") as process:
        assert process.wait(10) == 0
    assert change(root)["phase"] == "stranded" and not os.path.lexists(wants) and not unit.exists()


def test_at_boot_a_unit_that_was_left_without_a_change_goes(root: Path) -> None:
    unit = root / "unit"
    unit.write_text("")
    program = [sys.executable, "-IS", root / ".keeper" / "keeper.py", root, "boot", unit, root / "wants"]
    assert subprocess.run(program, timeout=10).returncode == 0 and not unit.exists()


def test_a_change_that_found_no_room_leaves_no_unit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"unit": str(root / "unit"), "wants": str(root / "multi-user" / "wants")}
    monkeypatch.setattr(supervised, "at_boot", lambda: True)
    monkeypatch.setattr(supervised, "boot_unit_paths", lambda _: paths)

    def full(*_: object) -> None:
        assert 'boot "' + paths["unit"] + '" "' + paths["wants"] + '"' in Path(paths["unit"]).read_text()
        raise OSError("no room")

    monkeypatch.setattr(supervised.settle, "write_change", full)
    wanted = {"directory": "d", "project": "p", "env_file": "", "services": [], "recreate": True, "wait_timeout": 1}
    wanted |= {"current": str(root / "current"), "replaces": [], "locks": [], "change": {"run": "r", "confirm": 9.0}}
    with pytest.raises(OSError, match="no room"):
        supervised.begin(root, root / "keeper.py", wanted)
    assert not any(os.path.lexists(path) for path in paths.values())


def test_a_change_that_is_gone_is_nobodys(root: Path) -> None:
    begun(root, phase="started", confirm=60.0)
    with keeper(root) as process:
        time.sleep(0.3)
        settle.forget(str(root / "change.json"))
        assert process.wait(10) == 0
    with keeper(root, "boot") as process:
        assert process.wait(10) == 0


def test_the_program_is_written_once(root: Path) -> None:
    path = root / ".keeper" / "keeper.py"
    before = path.stat().st_ino
    supervised.write_program(path)
    assert path.stat().st_ino == before
    path.write_text("another version")
    supervised.write_program(path)
    assert path.read_text() == supervised.source()


def test_who_began_it_may_go(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = begun(root, confirm=None)
    monkeypatch.setattr(compose_cli, "STOPS", [lambda: True])
    with pytest.raises(compose_cli.Abandoned):
        supervised.result_of(root, told)
    with keeper(root) as process:
        assert process.wait(10) == 0
    assert change(root)["phase"] == "failed" and history(root) == []  # nobody is to confirm it, nothing is taken back


class Docker:
    """A host whose Docker answers: `attempts` of bringing a release up there, and what the keeper `did` to it.

    `has`: the container that has the port 17600, '' for none.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fault: str = "", *, alone: bool = True, has: str = "") -> None:
        self.attempts: list[str] = []
        self.did: list[str] = []
        self.fault, self.has = fault, has
        self.more: dict[str, Any] = {}
        module = supervised.keeper
        monkeypatch.setattr(module, "DOCKER_EVERY", 0.01)
        monkeypatch.setattr(module, "answers", lambda: True)
        monkeypatch.setattr(module, "alone_on_docker", lambda change: alone)
        monkeypatch.setattr(module, "attempt", self.attempt)
        monkeypatch.setattr(module, "run", self.run)

    def run(self, argv: list[str], timeout: float) -> tuple[int, str, str]:
        if argv[:2] == ["docker", "ps"]:
            return 0, self.has if argv[-1] == "publish=17600" else "", ""
        self.did.append(" ".join(argv))
        return 0, "", ""

    def attempt(self, job: dict[str, Any], foresee: Any = None) -> dict[str, Any]:
        self.attempts.append(Path(job["directory"]).name)
        return {"failed": bool(self.fault), "msg": self.fault, "changed": True, **self.more}


def gone_back(root: Path, *, booting: bool = False) -> tuple[str, str]:
    """The phase in which a change that nobody confirmed ends, and why."""
    begun(root, phase="started", confirm=0.0)
    supervised.keeper.Keeper(root, "run-1", booting=booting).keep()
    return change(root)["phase"], change(root)["result"]


ALLOCATED = "Bind for 0.0.0.0:17600 failed: port is already allocated"
STUCK = "cannot stop container: 0123: tried to kill container, but did not receive an exit event"


def test_a_container_that_cannot_be_removed_ends_the_way_back_and_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = Docker(monkeypatch, STUCK)
    phase, why = gone_back(root)
    assert phase == "stranded" and STUCK in why and why.startswith("the release before does not come back")
    assert docker.attempts == ["r0-1"] * supervised.keeper.ATTEMPTS and docker.did == []
    (line,) = history(root)
    assert (line["what"], line["from"], line["to"]) == ("stranded", "r1", "r1")
    # Everybody may read the history, and a service's last words may hold a password.
    assert line["reason"] == "the release before does not come back" and STUCK in change(root)["result"]


def test_what_came_back_has_come_back_although_a_full_disk_notes_nothing_of_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = Docker(monkeypatch, "the services run, which cannot be noted")
    docker.more = {"canary_unnoted": True}
    assert gone_back(root)[0] == "returned" and docker.attempts == ["r0-1"]
    (line,) = history(root)
    assert (line["what"], line["to"]) == ("returned", "r0")


def test_the_next_change_does_not_mind_one_that_was_stranded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, STUCK)
    assert gone_back(root)[0] == "stranded"
    docker.fault = ""
    monkeypatch.setattr(supervised, "at_boot", lambda: False)
    wanted = {**change(root)["job"], "change": {"run": "run-2", "confirm": 60.0, "back": BACK}}
    supervised.begin(root, root / ".keeper" / "keeper.py", wanted)
    keeping = supervised.keeper.Keeper(root, "run-2", booting=False)
    assert keeping.is_ours()
    keeping.replace()
    assert change(root)["phase"] == "started" and docker.attempts[-1] == "r1-1"
    assert settle.confirm(str(root / "change.json"), "run-2") == "confirmed"
    assert [line["run"] for line in history(root)] == ["run-1"]


@pytest.mark.parametrize(
    ("words", "restarted"),
    [
        (ALLOCATED, True),
        ("Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use", True),
        ("failed to bind host port for 0.0.0.0:80:172.18.0.2:80/tcp: address already in use", True),
        ("failed to bind host port 127.0.0.1:80/tcp: address already in use", True),
        ("failed to set up container networking: Address already in use", False),  # of a network, not of the host
        ('Conflict. The container name "/shop-web-1" is already in use by container "0123"', False),
        (STUCK, False),
        ("web is exited (exit code 1): it left no log", False),
    ],
)
def test_docker_is_restarted_once_for_a_port_that_it_has_kept_over_a_power_loss(
    words: str, restarted: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = Docker(monkeypatch, words)
    assert gone_back(root, booting=True)[0] == "stranded"
    assert docker.did == (["systemctl restart docker"] if restarted else [])


@pytest.mark.parametrize(
    ("words", "booting", "alone", "has"),
    [
        (ALLOCATED, True, False, ""),
        (ALLOCATED, False, False, ""),
        (ALLOCATED, False, True, "0123456789ab\n"),
        ("listen tcp4 0.0.0.0:17600: bind: address already in use", False, True, ""),  # by whom is not known
    ],
)
def test_docker_is_not_restarted_under_others_nor_for_what_somebody_has(
    words: str, booting: bool, alone: bool, has: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = Docker(monkeypatch, words, alone=alone, has=has)
    phase, why = gone_back(root, booting=booting)
    assert (phase, docker.did) == ("stranded", []) and words in why


def test_docker_is_restarted_for_a_port_that_it_has_kept_when_it_was_killed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = Docker(monkeypatch, ALLOCATED)
    assert gone_back(root)[0] == "stranded"
    assert docker.did == ["systemctl restart docker"]


@pytest.mark.parametrize(
    ("listed", "alone"),
    [("", True), ("shop-prod\nshop-prod\n", True), ("shop-prod\nblog\n", False), ("\n", False)],
)
def test_nobody_elses_container_is_stopped_for_that(
    listed: str, alone: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container of no compose project has an empty line."""
    monkeypatch.setattr(supervised.keeper, "run", lambda argv, timeout: (0, listed, ""))
    assert supervised.keeper.alone_on_docker(begun(root)) is alone
    monkeypatch.setattr(supervised.keeper, "run", lambda argv, timeout: (1, "", "no answer"))
    assert not supervised.keeper.alone_on_docker(begun(root))


@pytest.mark.parametrize(
    ("phase", "result", "failed", "says"),
    [
        ("started", "", False, ""),
        ("failed", "No space left on device: /opt/x", True, "No space left on device: /opt/x"),
        ("returned", "", True, "nothing is left of what came of it; the change is returned"),
    ],
)
def test_what_found_no_room_for_its_answer_is_told_by_the_change(
    root: Path, phase: str, result: str, failed: bool, says: str
) -> None:
    answer = supervised.answer_of(root, {**begun(root), "phase": phase, "result": result})
    assert (answer["failed"], answer["msg"]) == (failed, says)
