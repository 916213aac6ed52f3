"""What the roles share with canaryctl's own agent: the same files, found by Ansible without any setting."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rolemodules import ROLES

AGENT = ROLES.parent / "canaryctl" / "agent"
LINKS = [path for path in ROLES.glob("*/module_utils/*") if path.is_symlink()]


@pytest.mark.parametrize("link", LINKS, ids=lambda path: path.parts[-3] + "/" + path.name)
def test_a_link_leads_to_the_agent_and_to_nothing_beyond_the_role(link: Path) -> None:
    assert AGENT in link.resolve().parents and not link.readlink().is_absolute()
    imported = [line.split()[1] for line in link.read_text().splitlines() if line.startswith("from .")]
    assert all((link.parent / f"{name.lstrip('.')}.py").exists() for name in imported)
    assert "from canaryctl" not in link.read_text()


def played(tmp_path: Path, *steps: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Steps of `stack_release` in check mode on this machine: its modules run as on any host, and change nothing.

    With no step it is undo, and what fails then ends the play.
    """
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.include_role": {"name": "stack_release", "tasks_from": step}}
                for step in steps or ("undo",)
            ],
            "ignore_errors": bool(steps),
            "vars": {
                "stack_release_root": str(tmp_path),
                "stack_release_project": "nothing-canary",
                "stack_release_created": {"containers": [], "volumes": [], "files": []},
                "ansible_python_interpreter": sys.executable,
                **variables,
            },
        }
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\nroles_path = {ROLES}\nlocal_tmp = {tmp_path}/tmp\n")
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--check", "-i", "localhost,", "play.yml"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_modules_of_roles_run_with_the_agents_own_modules(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.mkdir()
    owner = hashlib.sha256(b"token").hexdigest()
    (lock / "holder.json").write_text(json.dumps({"holder": "eve@box", "owner": owner, "renewed": 0}))
    done = played(tmp_path, stack_release_locks=[{"path": str(lock), "owner": owner}])
    assert done.returncode == 0, done.stdout + done.stderr
    lost = played(tmp_path, stack_release_locks=[{"path": str(lock), "owner": "another's"}])
    assert lost.returncode == 2 and "eve@box" in lost.stdout and owner not in lost.stdout, lost.stdout + lost.stderr


def test_no_module_that_changes_a_host_begins_without_the_runs_locks(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    (tmp_path / "lock" / "holder.json").write_text(json.dumps({"holder": "eve@box", "owner": "hers", "renewed": 0}))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "compose.yml").write_text("services: {}")
    steps = {"render", "database", "migrate", "start", "undo", "stop_writers", "restore"}
    service = {"service": "db", "host": "localhost"}
    done = played(
        tmp_path,
        *sorted(steps),
        canary_locks={"localhost": [{"path": str(tmp_path / "lock"), "owner": "ours"}]},
        stack_release_name="r1",
        stack_release_source=str(tmp_path / "source"),
        stack_release_secrets_source="",
        stack_release_replaces=[],
        stack_release_wait_timeout=1,
        stack_release_migration={**service, "database_hosts": {"db": ["localhost"]}, "upgrade": "up", "current": "see"},
        stack_release_backup_document={},
        canary_restore={**service, "environment": "one", "name": "one.dump"},
    )
    refused = done.stdout.count('"lost": {')
    assert done.returncode == 0 and refused == len(steps), done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "source", "play.yml", "ansible.cfg", "tmp"}
