"""One stage from end to end: Ansible itself, on this machine, with a playbook of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from canaryctl.ansible import AnsibleOptions, Session, StageOrder, StageRun, content, run_stage
from canaryctl.errors import ApplyError, ConfigError

SECRET, TOKEN = "s3cr3t-Pa55word", "the-token-of-a-lock"
EVIDENCE = {"extravars.json", "stdout.txt", "events.jsonl", "result.json"}


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Ours, beside playbooks that are the test's."""
    roles = content.content_root() / "roles"
    (tmp_path / "content" / "playbooks").mkdir(parents=True)
    (tmp_path / "content" / "roles").symlink_to(roles)
    monkeypatch.setattr(content, "content_root", lambda: tmp_path / "content")
    with Session() as session:
        yield session


def played(session: Session, tmp_path: Path, *tasks: dict[str, Any], **order: Any) -> tuple[StageRun, list[Any]]:
    book = [{"hosts": "all", "gather_facts": False, "tasks": list(tasks)}]
    (tmp_path / "content" / "playbooks" / "try.yml").write_text(yaml.safe_dump(book))
    inventory = tmp_path / "hosts.yml"
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"alpha": host, "beta": host}}}))
    events: list[Any] = []
    given = {"inventory": inventory, "hosts": ["alpha"], "variables": {}, "artifacts": tmp_path / "evidence"} | order
    done = run_stage(
        session, StageOrder("try", **given), on_event=events.append, scrub=lambda text: text.replace(SECRET, "***")
    )
    return done, events


def task(command: str, **more: Any) -> dict[str, Any]:
    return {"name": "Try", "ansible.builtin.command": {"argv": ["sh", "-c", command]}, **more}


def test_a_stage_gives_results_events_and_scrubbed_evidence(session: Session, tmp_path: Path) -> None:
    done, events = played(
        session,
        tmp_path,
        task("echo {{ canary_word }} {{ canary_locks | length }}"),
        variables={"canary_word": SECRET},
        private={"canary_locks": [TOKEN]},
    )
    assert [(host, found.status) for host, found in done.results.items()] == [("alpha", "changed")]
    assert [(event["type"], event["host"], event["status"]) for event in events] == [("task", "alpha", "changed")]
    files = {path.name: path.read_text() for path in (tmp_path / "evidence").iterdir()}
    assert set(files) == EVIDENCE
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "evidence").iterdir())
    assert not any(SECRET in text for text in files.values()) and "*** 1" in files["events.jsonl"]
    assert TOKEN not in files["extravars.json"]  # what belongs to this run alone is not kept to be run again
    assert json.loads(files["result.json"]) == {"rc": "0", "status": "successful"}
    assert not list(session.directory.glob("try-*"))  # the runner's own copy, environment and all, is gone


def test_who_holds_a_lock_is_checked_and_no_token_becomes_evidence(session: Session, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.mkdir()
    (lock / "holder.json").write_text(json.dumps({"holder": "eve@box", "token": TOKEN, "renewed": 0}))
    done, _ = played(
        session,
        tmp_path,
        {"ansible.builtin.import_role": {"name": "host_lock"}, "vars": {"host_lock_held": "{{ canary_locks }}"}},
        private={"canary_locks": [{"path": str(lock), "owner": "another's"}]},
    )
    found = done.results["alpha"]
    assert found.status == "failed" and found.detail is not None
    assert found.detail["lost"]["holder"] == "eve@box"
    assert not any(TOKEN in path.read_text() for path in (tmp_path / "evidence").iterdir())


def test_a_lock_lost_before_a_migration_is_no_failed_migration(session: Session, tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    (tmp_path / "lock" / "holder.json").write_text(json.dumps({"holder": "eve@box", "token": TOKEN, "renewed": 0}))
    migration = {"service": "web", "host": "alpha", "upgrade": "up", "current": "see", "database_hosts": {}}
    migrate = {"ansible.builtin.include_role": {"name": "stack_release", "tasks_from": "migrate"}}
    told = {"ansible.builtin.include_role": {"name": "stack_release", "tasks_from": "migrate_failed"}}
    done, _ = played(
        session,
        tmp_path,
        migrate,
        told,
        variables={
            "canary_stack": "shop",
            "canary_root": str(tmp_path),
            "canary_project": "shop-one",
            "canary_hosts": {"alpha": {"release": "r1"}},
            "canary_migration": migration,
        },
        private={"canary_locks": {"alpha": [{"path": str(tmp_path / "lock"), "owner": "another's"}]}},
    )
    found = done.results["alpha"]
    assert found.status == "failed" and found.detail is not None, found.message
    assert found.detail["lost"]["holder"] == "eve@box"


def test_a_failed_task_is_the_hosts_and_the_other_host_is_not_asked(session: Session, tmp_path: Path) -> None:
    done, _ = played(session, tmp_path, task("echo no room >&2; exit 3"))
    assert set(done.results) == {"alpha"} and done.results["alpha"].status == "failed"
    assert "no room" in done.results["alpha"].message


def test_options_mean_what_they_mean_in_ansible(session: Session, tmp_path: Path) -> None:
    file = {"ansible.builtin.copy": {"dest": str(tmp_path / "made"), "content": f"{SECRET}\n"}}
    done, _ = played(session, tmp_path, file, options=AnsibleOptions(check=True, diff=True))
    assert done.results["alpha"].status == "changed" and not (tmp_path / "made").exists()
    assert "+***" in done.diffs["alpha"]
    skipped, _ = played(session, tmp_path, file | {"tags": "a"}, options=AnsibleOptions(tags="b"))
    assert skipped.results["alpha"].status == "skipped"


def test_an_ansible_that_cannot_start_blames_the_configuration(session: Session, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("all: [")
    with pytest.raises(ConfigError) as caught:
        played(session, tmp_path, task("true"), inventory=tmp_path / "broken")
    assert caught.value.exit_code == 2
    assert {path.name for path in (tmp_path / "evidence").iterdir()} == EVIDENCE


def test_variables_that_mean_something_to_ansible_are_refused(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ApplyError):
        played(session, tmp_path, task("true"), variables={"__ansible_unsafe": "x"})


def test_an_interrupted_stage_ends_ansible_and_keeps_its_evidence(session: Session, tmp_path: Path) -> None:
    def stop(_event: object) -> None:
        raise KeyboardInterrupt

    book = [{"hosts": "all", "gather_facts": False, "tasks": [task("true"), task(f"sleep 30; touch {tmp_path}/late")]}]
    (tmp_path / "content" / "playbooks" / "try.yml").write_text(yaml.safe_dump(book))
    (tmp_path / "hosts.yml").write_text("all: {hosts: {alpha: {ansible_connection: local}}}\n")
    order = StageOrder("try", tmp_path / "hosts.yml", ["alpha"], {}, tmp_path / "evidence")
    with pytest.raises(KeyboardInterrupt):
        run_stage(session, order, on_event=stop, scrub=lambda text: text)
    assert {path.name for path in (tmp_path / "evidence").iterdir()} == EVIDENCE
    assert not list(session.directory.glob("try-*")) and not (tmp_path / "late").exists()


def test_an_interruption_ends_what_ansible_started_however_stubborn(session: Session, tmp_path: Path) -> None:
    def stop(event: dict[str, Any]) -> None:
        if event["task"] == "Try":
            raise KeyboardInterrupt

    aside = "setsid sh -c 'trap : INT TERM HUP; sleep 30; sleep 30' >/dev/null 2>&1 </dev/null &"
    tasks = [task(aside), task("trap : INT TERM HUP; sleep 30; sleep 30")]
    book = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "content" / "playbooks" / "try.yml").write_text(yaml.safe_dump(book))
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"alpha": host}}}))
    order = StageOrder("try", tmp_path / "hosts.yml", ["alpha"], {}, tmp_path / "evidence")
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_stage(session, order, on_event=stop, scrub=lambda text: text)
    assert time.monotonic() - began < 12  # Ansible takes a second or two to start
    mark = f"CANARYCTL_SCRATCH={session.directory}".encode()
    assert [entry for entry in Path("/proc").glob("[0-9]*/environ") if _carries(entry, mark)] == []


# Says where it works, and when Ansible is in the middle of a task.
PLAYS = """
import sys
from pathlib import Path
from canaryctl.ansible import Session, StageOrder, content, run_stage
here = Path(sys.argv[1])
content.content_root = lambda: here / "content"
def seen(event):
    print(event["task"], flush=True)
with Session() as session:
    print(session.directory, flush=True)
    run_stage(session, StageOrder("try", here / "hosts.yml", ["alpha"], {}, here / "evidence"), on_event=seen,
              scrub=lambda text: text)
"""


def test_ansible_and_its_secrets_do_not_outlive_a_canaryctl_that_was_killed(session: Session, tmp_path: Path) -> None:
    tasks = [task("true"), task("trap : INT TERM HUP; sleep 60; sleep 60")]
    book = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "content" / "playbooks" / "try.yml").write_text(yaml.safe_dump(book))
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"alpha": host}}}))
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}  # where no other canaryctl of this machine clears away
    argv = [sys.executable, "-c", PLAYS, str(tmp_path)]
    plays = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert plays.stdout
    folder = Path(plays.stdout.readline().strip())
    assert plays.stdout.readline() == "Try\n"
    mark = f"CANARYCTL_SCRATCH={folder}".encode()

    def left() -> list[Path]:
        return [entry for entry in Path("/proc").glob("[0-9]*/environ") if _carries(entry, mark)]

    assert left() and folder.is_dir()
    plays.kill()
    plays.wait()
    deadline = time.monotonic() + 10
    while (left() or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left() == [] and not folder.exists()


def _carries(entry: Path, mark: bytes) -> bool:
    try:
        return mark in entry.read_bytes().split(b"\0")
    except OSError:
        return False


def test_evidence_that_cannot_be_written_stops_no_stage(session: Session, tmp_path: Path) -> None:
    (tmp_path / "full").write_text("a file where the evidence would go")
    told: list[Path] = []
    book = [{"hosts": "all", "gather_facts": False, "tasks": [task("true")]}]
    (tmp_path / "content" / "playbooks" / "try.yml").write_text(yaml.safe_dump(book))
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"alpha": host}}}))
    order = StageOrder("try", tmp_path / "hosts.yml", ["alpha"], {}, tmp_path / "full" / "start")
    done = run_stage(
        session, order, on_event=lambda _: None, scrub=lambda text: text, unkept=lambda _, path: told.append(path)
    )
    assert done.results["alpha"].status == "changed" and told == [tmp_path / "full" / "start"]


def test_a_stage_that_does_not_end_in_time_is_ended_and_says_so(session: Session, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ApplyError, match="try did not end within 3 s") as caught:
        played(session, tmp_path, task("sleep 60"), deadline=3.0)
    assert (caught.value.where, caught.value.stage) == ("alpha", "try") and time.monotonic() - began < 12
    assert {path.name for path in (tmp_path / "evidence").iterdir()} == EVIDENCE
