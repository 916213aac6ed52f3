"""What hosts and stacks say reaches Ansible as it is written: no lookup in it runs on this machine.

With the real Ansible, on this machine, in check mode.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from canaryctl.ansible import AnsibleOptions, Session, StageOrder, run_stage
from canaryctl.ansible.content import playbook
from canaryctl.ansible.variables import variables_file
from canaryctl.config.pins import TEMPLATES, pin_variables
from canaryctl.errors import ApplyError

HOST = "here"
INVENTORY = {"all": {"hosts": {HOST: {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(json.dumps(INVENTORY))
    return path


def lookup(marks: Path, name: str) -> str:
    return "x{{ lookup('pipe', 'touch %s') }}" % (marks / name)


def poisoned(value: Any, marks: Path, path: str = "v") -> Any:
    """`value` with a lookup in every string that a host or a stack has a say in, keys included."""
    if isinstance(value, str):
        return lookup(marks, path)
    if isinstance(value, dict):
        return {key: poisoned(item, marks, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, marks, f"{path}.{index}") for index, item in enumerate(value)]
    return value


def every_variable(marks: Path) -> dict[str, Any]:
    """All that docs/playbooks.md lists, full of lookups; what names this host stays."""
    entry = {
        "release": "r", "source": "s", "secrets_source": "e", "services": ["web"], "replaces": ["other"],
        "project": "p", "created": {"containers": ["c"], "volumes": ["v"], "files": ["f"]}, "wait_timeout": 1,
    }  # fmt: skip
    backup = {"service": "db", "environment": "e", "database": "d", "user": "u"}
    marker = {"commands": ["c"], "project": "p", "images": {"db": "i"}, "revision": "r"}
    migration = {
        "service": "db", "upgrade": "u", "current": "c", "heads": "h", "database": ["db"], "marker": marker,
        "timeout": 1,
    }  # fmt: skip
    restore = {"service": "db", "environment": "e", "name": "n", "user": "u"}
    return {
        "canary_stack": lookup(marks, "stack"),
        "canary_environment": lookup(marks, "environment"),
        "canary_root": str(marks / "root"),
        "canary_project": lookup(marks, "project"),
        "canary_hosts": {HOST: {"become": False, **poisoned(entry, marks, "hosts")}},
        "canary_migration": {
            **poisoned(migration, marks, "migration"),
            "host": HOST,
            "database_hosts": {lookup(marks, "key"): [HOST]},
            "backup": {**poisoned(backup, marks, "backup"), "host": HOST},
        },
        "canary_restore": {**poisoned(restore, marks, "restore"), "host": HOST, "markers": [HOST]},
        "canary_locks": {HOST: []},
    }


def ansible(inventory: Path, book: Path, variables: str) -> subprocess.CompletedProcess[str]:
    path = inventory.parent / f"{book.stem}-variables"
    path.write_text(variables)
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(book), "-e", f"@{path}"]
    with Session() as session:
        environment = {**os.environ, **session.environment()}
        return subprocess.run(
            [*argv, "--check", "-vvv"], env=environment, capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A playbook that writes down what its variables were."""
    path = tmp_path / "echo.yml"
    names = list(every_variable(tmp_path))
    task = {
        "ansible.builtin.copy": {"dest": str(tmp_path / "got"), "content": "{{ found | to_json }}"},
        "vars": {"found": {name: f"{{{{ {name} }}}}" for name in names}},
        "check_mode": False,
    }
    path.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    return path


def test_ansible_gets_every_string_as_it_was_written(tmp_path: Path, inventory: Path, echo: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    wanted = every_variable(marks)
    wanted["canary_project"] = "123"  # stays text
    wanted["canary_hosts"]["other"] = {"release": "1e5", "project": "yes", "replaces": ["?", "\u202e\t\n", "{%"]}
    given = {**wanted, "canary_hosts": {**wanted["canary_hosts"], "other": dict(wanted["canary_hosts"]["other"])}}
    given["canary_hosts"]["other"]["replaces"] = ["\ud800", *wanted["canary_hosts"]["other"]["replaces"][1:]]
    done = ansible(inventory, echo, variables_file(given))
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(marks.iterdir()) == []
    assert json.loads((tmp_path / "got").read_text()) == wanted


def test_without_the_marks_the_lookups_would_run(tmp_path: Path, inventory: Path, echo: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    ansible(inventory, echo, json.dumps(every_variable(marks)))
    assert (marks / "stack").exists()


@pytest.mark.parametrize("stage", ["render", "migrate", "start", "rollback", "restore", "down"])
def test_no_role_makes_a_template_of_it_again(stage: str, tmp_path: Path, inventory: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    done = ansible(inventory, playbook(stage), variables_file(every_variable(marks)))
    assert list(marks.iterdir()) == [], done.stdout
    assert "lookup('pipe'" in done.stdout  # the tasks got the text itself


def test_a_stage_passes_them_so_in_a_private_file_and_keeps_them_so(tmp_path: Path, inventory: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    variables = every_variable(marks)
    seen: list[int] = []

    order = StageOrder("down", inventory, [HOST], variables, tmp_path / "evidence", AnsibleOptions(check=True))
    with Session() as session:

        def look(_event: object) -> None:
            seen.extend(stat.S_IMODE(path.stat().st_mode) for path in session.directory.glob("*/env/extravars"))

        run_stage(session, order, on_event=look, scrub=lambda text: text)
    assert list(marks.iterdir()) == []
    assert set(seen) == {0o600}
    # docs/playbooks.md says how to run a stage again from it.
    assert (tmp_path / "evidence" / "extravars.json").read_text() == variables_file(variables)


def test_only_our_own_templates_are_left_as_templates(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    mark = f"-o GlobalKnownHostsFile={tmp_path}/known_hosts {{{{ lookup('pipe', 'id') }}}}"
    pins = pin_variables({HOST: {"ansible_ssh_extra_args": mark}}, tmp_path)
    document = json.loads(variables_file({**pins, "canary_stack": "toy"}))
    plain = {key for key, value in document.items() if isinstance(value, str)}
    assert plain == {"ansible_ssh_extra_args"} <= TEMPLATES
    assert "lookup" not in document["ansible_ssh_extra_args"]
    assert document["canary_ssh_arguments"]["ansible_ssh_extra_args"][HOST] == {"__ansible_unsafe": mark}


@pytest.mark.parametrize("key", ["__ansible_unsafe", "__ansible_vault"])
def test_a_key_that_is_a_mark_is_refused(key: str) -> None:
    with pytest.raises(ApplyError, match="would mean something"):
        variables_file({"canary_hosts": {HOST: {"created": [{key: "x"}]}}})


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ApplyError, match="cannot be written"):
        variables_file({"canary_hosts": {HOST: object()}})


def test_the_file_is_json_or_nothing() -> None:
    """Ansible reads as YAML what it cannot read as JSON: there the marks would be data, the strings templates."""
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(variables_file({"canary_hosts": {HOST: {"release": "x"}}}))
