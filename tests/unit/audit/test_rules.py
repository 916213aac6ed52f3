"""Every rule of an audit: its planted case, and the clean case in which it says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from audited import (
    ANY,
    CLEAN,
    COMPOSE,
    DIRECTORY,
    GPU,
    GPU_HOST,
    HASHES,
    MINE,
    OLDER,
    OTHER,
    TAG,
    WITH_GPU,
    WITH_MOUNT,
    WITH_RUNTIME,
    audited,
    container,
    deployed,
    facts,
    gpu,
    locked,
    unconfirmed,
)

from canaryctl.audit.evaluation import find_in_setup, find_on_host, find_on_unreachable
from canaryctl.audit.inventory import Inventory, InventoryFile, read_inventory
from canaryctl.audit.model import ConfigIssue, Finding, HostConfig, Setup
from canaryctl.audit.registry import all_rules
from canaryctl.errors import HostError

# rule -> what is planted into a clean host, and the configuration it is seen with
UNLOCKED = {"state": {**CLEAN["state"], "lock": None}}
ON_HOST: dict[str, list[tuple[dict[str, Any], HostConfig]]] = {
    "sudo-refused": [({"become": "refused", "become_reason": "a password is required"}, MINE)],
    "ssh-password-login": [
        (audited(sshd={"passwordauthentication": "yes"}), MINE),
        (audited(sshd={"kbdinteractiveauthentication": "yes"}), MINE),
        ({}, replace(MINE, variables={"ansible_password": "x"})),
    ],
    "ssh-root-login": [
        (audited(sshd={"permitrootlogin": "yes"}), MINE),
        (audited(sshd={"permitrootlogin": "without-password"}), MINE),
        ({}, replace(MINE, variables={"ansible_user": "root"})),
    ],
    "python-too-old": [({"python": "3.7.3"}, MINE)],
    "os-unsupported": [
        ({"os": {"id": "debian", "version_id": "10"}}, MINE),
        ({"os": {"id": "ubuntu", "version_id": "20.04"}}, MINE),
        ({"os": {"id": "alpine", "version_id": "3.20"}}, MINE),
    ],
    "disk-low": [({"disks": {"/": {"total": 10**11, "free": 10**9}}}, MINE)],
    "inodes-low": [({"disks": {"/": {"total": 10**11, "free": 10**11, "inodes": 1000, "inodes_free": 3}}}, MINE)],
    "clock-skew": [({"skew": 7.5}, MINE), ({"skew": -120.0}, MINE)],
    "reboot-required": [(audited(reboot={"packages": ["linux-image-amd64"]}), MINE)],
    "leftover": [
        (audited(leftovers=[{"path": "/opt/canaryctl/shop/.secrets.env.partial", "age": 4000}]), MINE),
        ({"containers": [container(name="d441f52f9d68_shop-prod-web-1", state="created")], **UNLOCKED}, MINE),
        ({"containers": [container(), container(name="shop-prod-migrate", oneoff=True)], **UNLOCKED}, MINE),
        ({"containers": [container(name="canaryctl-unpacked-12ab34cd", project="")], **UNLOCKED}, MINE),
    ],
    "mount-missing": [({"mounts": [{"path": "/mnt/m", "point": "/", "fstype": "ext4"}]}, WITH_MOUNT)],
    "mount-fstype": [
        ({"mounts": [{"path": "/mnt/m", "point": "/mnt/m", "fstype": "tmpfs", "sentinel": True}]}, WITH_MOUNT)
    ],
    "mount-sentinel-missing": [
        ({"mounts": [{"path": "/mnt/m", "point": "/mnt/m", "fstype": "nfs4", "sentinel": False}]}, WITH_MOUNT)
    ],
    "mount-room": [
        ({"mounts": [{"path": "/mnt/m", "point": "/mnt/m", "fstype": "nfs4", "sentinel": True, "free": 1}]}, WITH_MOUNT)
    ],
    "docker-missing": [({"docker": None, "compose": None}, MINE)],
    "docker-not-running": [({"docker": {"running": False, "error": "connection refused"}}, MINE)],
    "docker-old": [({"docker": {**CLEAN["docker"], "version": "19.03.15"}}, MINE)],
    "compose-missing": [({"compose": None}, MINE)],
    "compose-old": [({"compose": {"version": "2.10.0"}}, MINE)],
    "daemon-json-invalid": [(audited(daemon={"path": "/etc/docker/daemon.json", "error": "Expecting value"}), MINE)],
    "daemon-option-conflict": [
        (audited(daemon={"path": "/d.json", "keys": ["hosts"], "flags": ["H"]}), MINE),
        (audited(daemon={"path": "/d.json", "keys": ["storage-driver"], "flags": ["storage-driver"]}), MINE),
        (audited(daemon={"path": "/d.json", "keys": ["registry-mirrors"], "flags": ["registry-mirror"]}), MINE),
    ],
    "port-conflict": [
        (
            {
                "containers": [container(ports=[])],
                "ports": [{"address": ANY, "port": 8080, "pid": 7, "process": "nginx"}],
            },
            MINE,
        )
    ],
    "port-on-all-interfaces": [
        ({"containers": [container(ports=[{"address": ANY, "port": 8080}, {"address": "::", "port": 8080}])]}, MINE)
    ],
    "gpu-missing": [({}, WITH_GPU)],
    "gpu-driver-missing": [({"gpu": {"state": "no-driver", "pci": [{"address": "0000:01"}]}}, WITH_GPU)],
    "gpu-lost": [
        (gpu(state="lost", says="GPU is lost"), WITH_GPU),
        (gpu(missing=["0000:02"]), WITH_GPU),
    ],
    "gpu-driver-old": [
        (
            {**WITH_RUNTIME, "gpus": [{**GPU, "driver": "440.33.01"}], "gpu": {**GPU_HOST, "driver": "440.33.01"}},
            WITH_GPU,
        ),
        ({**WITH_RUNTIME, "gpu": {**GPU_HOST, "driver": "550.54.15"}}, replace(WITH_GPU, cuda="13.0")),
    ],
    "gpu-toolkit-missing": [(gpu(toolkit=None), WITH_GPU)],
    "gpu-runtime-not-registered": [(gpu(), WITH_GPU)],
    "gpu-cdi-stale": [
        ({**WITH_RUNTIME, **gpu(cdi=[{"path": "/etc/cdi/nvidia.yaml", "driver": "535.1", "stale": True}])}, WITH_GPU)
    ],
    "gpu-lost-on-daemon-reload": [(WITH_RUNTIME, WITH_GPU)],
    "drift-file": [
        (deployed({**HASHES, "compose.yml": "edited"}), MINE),
        (deployed({**HASHES, "assets/data/a.csv": "edited"}), replace(MINE, directory="")),
        (deployed({"compose.yml": HASHES["compose.yml"]}), MINE),
        (deployed({**HASHES, "assets/extra": "x"}), MINE),
        (deployed(id="2" * 64), MINE),
        ({"state": {"current": DIRECTORY, "releases": {}}}, MINE),
    ],
    "drift-definition": [({"containers": [container(config_files=OLDER)]}, MINE)],
    "drift-image": [
        ({"containers": [container(image_id=OTHER)]}, MINE),
        ({"images": [{"id": OTHER, "tags": [TAG]}]}, MINE),
    ],
    "container-without-release": [
        ({"containers": [container(), container(name="x", service="x", config_files="", ports=[])]}, MINE),
        ({"containers": [container(), container(name="x", service="old", ports=[])]}, MINE),
        ({"containers": [container(), {"name": "nginx", "image": "nginx:1", "state": "running"}]}, MINE),
    ],
    "service-down": [({"containers": []}, MINE), ({"containers": [container(state="exited", exit_code=3)]}, MINE)],
    "restart-loop": [
        ({"containers": [container(state="restarting", restarts=9)]}, MINE),
        ({"containers": [container(restarts=5, started=1900.0)]}, MINE),
    ],
    "container-unhealthy": [({"containers": [container(health="unhealthy")]}, MINE)],
    "change-unconfirmed": [(unconfirmed(phase), MINE) for phase in ("started", "returned", "stranded")],
    "lock-expired": [(locked(expired=True), MINE)],
}
UNREACHABLE = {
    "host-unreachable": HostError("192.0.2.1:22 refuses connections", "one"),
    "host-key-unpinned": HostError("its host key is not known", "one", reason="host-key-unknown"),
    "host-key-changed": HostError("its host key is changed", "one", reason="host-key-changed"),
    "python-missing": HostError("there is no python3 on it", "one", reason="python"),
    "agent-failed": HostError("the agent failed there", "one", reason="agent"),
}


def written(**files: str) -> Inventory:
    """An inventory of these files; `__` stands for a slash."""
    paths = {name.replace("__", "/") + ".yml": text for name, text in files.items()}
    return read_inventory([InventoryFile(f"inventories/prod/{path}", path, text) for path, text in paths.items()])


HOSTS = "servers: {hosts: {one: }}\n"
SETUP = Setup(
    "prod",
    inventory=written(
        hosts=HOSTS,
        group_vars__all="base: /srv\nroot: '{{ base }}/x'\nname: \"{{ other | default('') }}\"\nmax_tokens: 4096\n",
        group_vars__servers="canary_secrets: {A: {file: /run/a}, B: '{{ base }}', C: !vault x}\n",
    ),
    hosts={"one": MINE},
    groups={"all": ("one",), "servers": ("one",)},
    placement={"servers": ("web",)},
    compose_where="compose.yml.j2",
)


def with_files(**files: str) -> Setup:
    return replace(SETUP, inventory=written(**{"hosts": HOSTS, **files}))


IN_SETUP: dict[str, list[Setup]] = {
    **{
        rule: [replace(SETUP, issues=(ConfigIssue(kind, "it is wrong", "file.yml:7", "fix it"),))]
        for rule, kind in {
            "inventory-invalid": "inventory",
            "stack-invalid": "stack",
            "policy-invalid": "policy",
            "template-invalid": "template",
            "probes-invalid": "probes",
            "placement-impossible": "placement",
            "secret-missing": "secrets",
        }.items()
    },
    "secret-in-plain-text": [
        with_files(group_vars__all="ansible_become_password: hunter2\n"),
        with_files(group_vars__all="db_password: 12345678\n"),
        with_files(group_vars__all="canary_secrets: {DB_URL: 'postgres://u:p@db'}\n"),
        with_files(host_vars__one="registry: {user: me, token: abc}\n"),
        with_files(hosts="servers: {hosts: {one: {ansible_password: hunter2}}}\n"),
        with_files(group_vars__all="cert: |\n  -----BEGIN RSA PRIVATE KEY-----\n  abc\n"),
        replace(
            SETUP,
            inventory=read_inventory(
                [InventoryFile("i/hosts.ini", "hosts.ini", "[servers]\none ansible_password=x\n")]
            ),
        ),
    ],
    "vault-undecryptable": [
        replace(SETUP, inventory=Inventory(undecryptable=(("group_vars/all/vault.yml", 1, "Decryption failed"),)))
    ],
    "variable-undefined": [
        with_files(group_vars__all="canary_root: '{{ no_such_thing }}/x'\n"),
        with_files(group_vars__all="base_dir: /srv\npath: ['{{ base_dri }}']\n"),
    ],
    "variable-shadowed": [
        with_files(group_vars__all__a="port: 1\n", group_vars__all__b="port: 2\n"),
        replace(
            with_files(group_vars__servers="port: 1\n", group_vars__workers="port: 2\n"),
            groups={"all": ("one",), "servers": ("one",), "workers": ("one",)},
        ),
        with_files(group_vars__servers="port: 1\n", host_vars__one="port: 2\n"),
    ],
    "host-in-no-group": [replace(SETUP, hosts={"one": replace(MINE, groups=("ungrouped",))})],
    "group-name-typo": [
        replace(SETUP, placement={"server": ("web",)}),
        with_files(group_vars__sevrers="port: 1\n"),
        with_files(host_vars__onee="port: 1\n"),
    ],
    "port-on-all-interfaces": [replace(SETUP, hosts={"one": replace(MINE, ports=((ANY, 8080, "web"),))})],
}


def ids(findings: list[Finding]) -> set[str]:
    return {finding.id for finding in findings}


def test_no_rule_lacks_its_planted_case() -> None:
    assert set(all_rules()) == {*ON_HOST, *UNREACHABLE, *IN_SETUP}
    for rule in all_rules().values():
        assert not rule.of_host or rule.id in ON_HOST
        assert not rule.of_setup or rule.id in IN_SETUP


@pytest.mark.parametrize(
    ("rule", "planted", "mine"), [(rule, *case) for rule, cases in ON_HOST.items() for case in cases]
)
def test_a_defect_planted_on_a_host_is_found(rule: str, planted: dict[str, Any], mine: HostConfig) -> None:
    found = [finding for finding in find_on_host(facts(planted), mine) if finding.id == rule]
    assert found and all(finding.host == "one" and finding.what and finding.fix for finding in found)


@pytest.mark.parametrize(
    ("changes", "mine"),
    [
        ({}, MINE),
        ({}, replace(MINE, files={}, directory="")),
        ({}, WITH_MOUNT),
        ({**WITH_RUNTIME, "docker": {**WITH_RUNTIME["docker"], "cgroup_driver": "cgroupfs"}}, WITH_GPU),
        ({"os": {"id": "debian", "version_id": ""}}, MINE),
        ({"audit": {}, "disks": {"/": {"total": 10**11, "free": 10**11, "inodes": 0, "inodes_free": 0}}}, MINE),
        ({"containers": [container(restarts=5, started=100.0)]}, MINE),
    ],
    ids=["deployed", "stack moved on", "mount", "gpu", "debian testing", "nothing told", "restarts of long ago"],
)
def test_a_clean_host_has_no_finding(changes: dict[str, Any], mine: HostConfig) -> None:
    assert find_on_host(facts(changes), mine) == []


@pytest.mark.parametrize("rule", UNREACHABLE)
def test_why_a_host_could_not_be_looked_at(rule: str) -> None:
    (finding,) = find_on_unreachable(UNREACHABLE[rule], MINE)
    assert (finding.id, finding.severity, finding.host) == (rule, "critical", "one")


@pytest.mark.parametrize(("rule", "setup"), [(rule, setup) for rule, cases in IN_SETUP.items() for setup in cases])
def test_a_defect_planted_in_the_configuration_is_found(rule: str, setup: Setup) -> None:
    assert ids(find_in_setup(setup)) == {rule}


def test_a_clean_configuration_has_no_finding() -> None:
    assert find_in_setup(SETUP) == []


def test_a_secret_is_named_and_never_shown() -> None:
    (finding,) = find_in_setup(with_files(group_vars__all="\nansible_become_password: hunter2\n"))
    assert "ansible_become_password" in finding.what and finding.where == "inventories/prod/group_vars/all.yml:2"
    assert "hunter2" not in str(finding.as_dict())


def test_a_hand_edit_is_shown_as_a_diff() -> None:
    planted = deployed({**HASHES, "compose.yml": "edited"}) | audited(compose=COMPOSE.decode() + "# by hand\n")
    (finding,) = find_on_host(facts(planted), MINE)
    assert (finding.id, finding.subject) == ("drift-file", "compose.yml")
    assert "+# by hand" in finding.diff.splitlines()


def test_what_others_run_on_the_host_is_only_mentioned() -> None:
    other = {"name": "nginx", "image": "nginx:1", "state": "running", "ports": [{"address": ANY, "port": 80}]}
    found = find_on_host(facts({"containers": [container(), other]}), MINE)
    assert {(finding.id, str(finding.severity)) for finding in found} == {
        ("container-without-release", "info"),
        ("port-on-all-interfaces", "info"),
    }


def test_a_gpu_that_no_service_uses_is_a_warning() -> None:
    found = find_on_host(facts({"gpu": {"pci": [{"address": "0000:01"}]}}), MINE)
    assert [(finding.id, str(finding.severity)) for finding in found] == [("gpu-driver-missing", "warning")]


def test_names_seem_undefined_only_where_every_file_could_be_read() -> None:
    vaulted = InventoryFile("v", "group_vars/all/vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n00\n")
    used = InventoryFile("a", "group_vars/all/a.yml", "x: '{{ in_the_vault }}'\n")
    assert "variable-undefined" in ids(find_in_setup(replace(SETUP, inventory=read_inventory([used]))))
    assert find_in_setup(replace(SETUP, inventory=read_inventory([used, vaulted]))) == []
