"""Offline audits of inventories written for the occasion, as the command makes them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.constants import DEFAULT_VAULT_ID_MATCH
from ansible.parsing.vault import VaultLib, VaultSecret

from canaryctl.audit.severity import Severity
from canaryctl.commands.audit import AuditOptions, audit
from canaryctl.config.project import Project
from canaryctl.errors import ConfigError
from canaryctl.evidence.store import verify
from canaryctl.plan.deployment import Request

STACK = """\
stack: shop
images: {web: {tag: "web:1"}}
variants: {only: {web: web}}
placement: {servers: [web]}
compose: compose.yml.j2
"""
COMPOSE = """\
services:
  web:
    image: "{{ images.web }}"
    ports: ["{{ address }}:8080:80"]
"""
PROBES = '- {name: Up, kind: http, on: servers, url: "http://{{ address }}:8080/", expect: {status: 200}}\n'

Audit = Callable[..., dict[str, Any]]


class Place:
    """A project with one environment, audited offline."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("stack.yml", STACK)
        self.write("compose.yml.j2", COMPOSE)
        self.write("probes.yml", PROBES)
        self.write("inventories/prod/hosts.yml", "servers: {hosts: {one: {ansible_host: 192.0.2.1}}}\n")

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def audit(self, environment: str = "prod", password: Path | None = None, **options: Any) -> dict[str, Any]:
        project = Project(self.root, self.root / "stack.yml", self.root / "inventories", self.root / "runs")
        request = Request(project, environment, vault_password_file=password)
        return audit(request, AuditOptions(offline=True, **options), ())

    def found(self, **options: Any) -> dict[str, str]:
        return {row["id"]: row["severity"] for row in self.audit(**options)["findings"]}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def vaulted(text: str, password: str) -> str:
    return str(VaultLib([(DEFAULT_VAULT_ID_MATCH, VaultSecret(password.encode()))]).encrypt(text).decode())


def test_a_clean_environment_passes_and_leaves_evidence(place: Place) -> None:
    document = place.audit()
    assert document["findings"] == [] and (document["verdict"], document["exit_code"]) == ("passed", 0)
    directory = place.root / document["directory"]
    assert json.loads((directory / "run.json").read_text())["audit"]["offline"] is True
    assert verify(directory) == []
    assert "Nothing was found." in (directory / "report.md").read_text()


def test_images_need_not_be_on_this_machine_and_no_host_is_asked(place: Place) -> None:
    document = place.audit()
    assert document["stages"] == [] and document["release"]["id"] is None


def test_a_wrong_vault_password_is_a_finding_and_not_a_failure_of_the_audit(place: Place) -> None:
    place.write("inventories/prod/group_vars/all/vault.yml", vaulted("db_password: x\n", "right"))
    wrong, right = place.write("wrong", "wrong\n"), place.write("right", "right\n")
    document = place.audit(password=wrong)
    assert document["exit_code"] == 1 and document["error"] is None
    rows = {row["id"]: row for row in document["findings"]}
    assert rows["vault-undecryptable"]["where"] == "inventories/prod/group_vars/all/vault.yml:1"
    assert place.found(password=right) == {}


def test_a_vaulted_value_is_checked_by_itself_and_is_no_plain_secret(place: Place) -> None:
    block = vaulted("hunter2", "right").replace("\n", "\n  ")
    place.write("inventories/prod/group_vars/all/main.yml", f"api_token: !vault |\n  {block}\n")
    assert place.found(password=place.write("right", "right\n")) == {}
    assert "vault-undecryptable" in place.found(password=place.write("wrong", "wrong\n"))


def test_names_in_a_vaulted_file_are_known(place: Place) -> None:
    place.write("inventories/prod/group_vars/all/vault.yml", vaulted("vault_url: x\n", "right"))
    place.write("inventories/prod/group_vars/all/main.yml", "url: '{{ vault_url }}'\n")
    assert place.found(password=place.write("right", "right\n")) == {}


def test_a_group_nobody_is_in_and_its_misspelt_twin(place: Place) -> None:
    place.write("inventories/prod/hosts.yml", "server: {hosts: {one: {ansible_host: 192.0.2.1}}}\n")
    assert place.found() == {"placement-impossible": "error", "group-name-typo": "warning"}


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("stack.yml", STACK.replace("placement", "placment"), "stack-invalid"),
        ("compose.yml.j2", COMPOSE.replace("address", "adress"), "template-invalid"),
        ("probes.yml", "- {name: Up, kind: htpt}\n", "probes-invalid"),
        ("inventories/prod/group_vars/all.yml", "canary_provision: sometimes\n", "policy-invalid"),
        ("inventories/prod/group_vars/all.yml", "canary_audit_ignore: [{id: disk-low}]\n", "policy-invalid"),
        ("inventories/prod/group_vars/all.yml", "a: [\n", "inventory-invalid"),
        ("inventories/prod/group_vars/all.yml", "canary_root: '{{ nothing }}'\n", "variable-undefined"),
        ("stack.yml", STACK + "secrets: [SHOP_TEST_SECRET_NOBODY_SET]\n", "secret-missing"),
        ("compose.yml.j2", COMPOSE.replace("{{ address }}:", ""), "port-on-all-interfaces"),
        ("inventories/prod/lost.yml", "all: {hosts: {two: }}\n", "host-in-no-group"),
    ],
)
def test_a_fault_in_a_file_is_a_finding(place: Place, path: str, text: str, rule: str) -> None:
    place.write(path, text)
    assert rule in place.found()


def test_what_is_ignored_is_listed_with_its_reason_and_does_not_count(place: Place) -> None:
    place.write("compose.yml.j2", COMPOSE.replace("{{ address }}:", ""))
    policy = "canary_audit_ignore: [{id: port-on-all-interfaces, reason: behind a firewall}]\n"
    place.write("inventories/prod/group_vars/all.yml", policy)
    document = place.audit(fail_on=Severity.WARNING)
    assert document["exit_code"] == 0
    assert [row["ignored"] for row in document["findings"]] == ["behind a firewall"]
    assert document["audit"]["counts"]["warning"] == 0 and document["audit"]["ignored"] == 1


def test_a_rule_can_be_left_out_for_once(place: Place) -> None:
    place.write("compose.yml.j2", COMPOSE.replace("{{ address }}:", ""))
    assert place.audit(fail_on=Severity.WARNING)["exit_code"] == 1
    assert place.audit(fail_on=Severity.WARNING, ignore=("port-on-all-interfaces",))["exit_code"] == 0


def test_two_audits_side_by_side(place: Place) -> None:
    place.write("compose.yml.j2", COMPOSE.replace("{{ address }}:", ""))
    before = place.audit()
    place.write("compose.yml.j2", COMPOSE)
    place.write("inventories/prod/group_vars/all.yml", "api_token: abc\n")
    compared = place.audit(compare=before["id"])["audit"]["compared"]
    assert compared["run"] == before["id"]
    assert [row["id"] for row in compared["new"]] == ["secret-in-plain-text"]
    assert [row["id"] for row in compared["gone"]] == ["port-on-all-interfaces"]
    assert compared["same"] == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"environment": "pord"}, "no environment 'pord'"),
        ({"ignore": ("disk-lo",)}, "no rule is named"),
        ({"compare": "20200101"}, "there are no runs"),
    ],
)
def test_what_was_asked_for_wrongly_is_refused_and_leaves_no_run(
    place: Place, options: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        place.audit(**options)
    assert not (place.root / "runs").exists()


def test_the_hosts_of_other_tools_need_no_stack_group(place: Place) -> None:
    """An environment whose inventory is an INI file is read as well."""
    (place.root / "inventories/prod/hosts.yml").unlink()
    place.write("inventories/prod/hosts.ini", "[servers]\none ansible_host=192.0.2.1 ansible_password=hunter2\n")
    assert place.found() == {"secret-in-plain-text": "error"}
    text = (place.root / place.audit()["directory"] / "run.json").read_text()
    assert "hunter2" not in text


def test_git_has_nothing_to_add_but_runs(place: Place) -> None:
    """An audit writes nothing but its evidence."""
    subprocess.run(["git", "init", "-q"], cwd=place.root, check=True)
    subprocess.run(["git", "add", "-A"], cwd=place.root, check=True)
    place.audit()
    said = subprocess.check_output(["git", "status", "--porcelain", "-uall"], cwd=place.root, text=True)
    assert all(line.split()[1].startswith("runs/") for line in said.splitlines() if line.startswith("??"))
    assert not [line for line in said.splitlines() if line.startswith(" M")]
