"""Audits of a real host with each planted defect, and of hosts of which one is down.

test_reports.py has one of a host that is as it should be.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Box, Ctl, Result
from toy import Toy

pytestmark = pytest.mark.lab

STRAY = "docker rm -f stray loop >/dev/null 2>&1 || true"
HAND_EDIT = "echo '# by hand' >> $(readlink -f /opt/canaryctl/audited/current)/compose.yml"
ASSET = "/opt/canaryctl/audited/current/assets/conf/motd"
LOGINS = "/etc/ssh/sshd_config.d/00-planted.conf"
TOOLKIT = {"id": "gpu-toolkit-missing", "reason": "the host has it only once another file has provisioned it"}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A toy that is deployed and healthy, with a file that its container mounts."""
    made = Toy(tmp_path_factory.mktemp("audited"), "audited", 18452, ctl, box)
    made.environment("one", "canary-1", variables={"all": {"canary_audit_ignore": [TOOLKIT]}})
    box("canary-1").run(f"rm -f {LOGINS}")  # of a session that was cut off
    made.write("conf/motd", "as deployed\n")
    made.write("stack.yml", (made.folder / "stack.yml").read_text() + "assets: [conf/]\n")
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()


@pytest.fixture
def host(toy: Toy) -> Box:
    """The host that serves it."""
    return toy.box("canary-1")


def findings(result: Result, at_least: str = "warning") -> dict[str, dict[str, Any]]:
    """Findings that count, by rule."""
    order = ("info", "warning", "error", "critical")
    counts = [row for row in result.document["findings"] if row["ignored"] is None]
    rows = [row for row in counts if order.index(row["severity"]) >= order.index(at_least)]
    return {row["id"]: row for row in rows}


def test_a_hand_edit_is_drift_with_its_diff_and_a_deploy_heals_it(toy: Toy, host: Box) -> None:
    before = toy.run("audit", "one", "--output", "json").document["id"]
    host.run(HAND_EDIT)
    drift = toy.run("audit", "one", "--fail-on", "warning", "--compare", before, "--output", "json")
    assert drift.code == 1
    assert set(findings(drift)) == {"drift-file"}
    assert "+# by hand" in findings(drift)["drift-file"]["diff"]
    assert [row["id"] for row in drift.document["audit"]["compared"]["new"]] == ["drift-file"]
    report = (Path(drift.document["directory"]) / "report.md").read_text()
    assert "drift-file" in report and "+# by hand" in report
    assert toy.run("audit", "one").code == 0, "a warning fails only where it is asked to"
    heal = toy.deploy("one")
    assert heal.code == 0 and [change["stage"] for change in heal.document["plan"]["changes"]] == ["render"]
    assert findings(toy.run("audit", "one", "--output", "json")) == {}


@pytest.fixture
def strays(host: Box) -> Iterator[Box]:
    """Two containers under the stack's project that no release knows."""
    image = host.run("docker images --format '{{.Repository}}:{{.Tag}}' | grep canaryctl/audited/web").split()[0]
    labels = "--label com.docker.compose.project=audited-one --label com.docker.compose.service"
    health = "--health-cmd false --health-interval 1s --health-retries 1"
    host.run(STRAY)
    host.run(f"docker run -d --name stray {labels}=stray {health} -p 19999:1 {image} sleep 300")
    host.run(f"docker run -d --name loop {labels}=loop --restart always {image} false")
    host.run("for i in $(seq 100); do docker ps | grep -q unhealthy && exit; sleep 0.1; done; exit 1")
    yield host
    host.run(STRAY)


def test_containers_from_no_release_unhealthy_restarting_and_open_to_all(toy: Toy, strays: Box) -> None:
    strays.run("for i in $(seq 100); do docker ps | grep -q Restarting && exit; sleep 0.1; done")
    done = toy.run("audit", "one", "--output", "json")
    rows = done.document["findings"]
    assert done.code == 1
    assert {row["what"].split()[0] for row in rows if row["id"] == "container-without-release"} == {"stray", "loop"}
    found = findings(done)
    assert found["container-unhealthy"]["what"] == "stray is unhealthy"
    assert "19999" in found["port-on-all-interfaces"]["what"]
    assert "loop has restarted" in found["restart-loop"]["what"]


def test_password_login_that_is_enabled(toy: Toy, host: Box) -> None:
    host.run(f"echo 'PasswordAuthentication yes' > {LOGINS}")
    try:
        found = findings(toy.run("audit", "one", "--output", "json"))
        assert set(found) == {"ssh-password-login"}
        ignored = toy.run("audit", "one", "--fail-on", "warning", "--ignore", "ssh-password-login", "--output", "json")
        assert ignored.code == 0 and findings(ignored) == {}
        rows = [row["id"] for row in ignored.document["findings"] if row["ignored"]]
        assert "ssh-password-login" in rows and ignored.document["audit"]["ignored"] == len(rows)
    finally:
        host.run(f"rm {LOGINS}")


def test_daemon_options_that_would_keep_docker_from_starting(toy: Toy, host: Box) -> None:
    kept = host.run("cat /etc/docker/daemon.json 2>/dev/null || true")
    try:
        host.run('echo \'{"hosts": ["unix:///x.sock"]}\' > /etc/docker/daemon.json')
        assert "daemon-option-conflict" in findings(toy.run("audit", "one", "--output", "json"))
        host.run("echo '{ // a comment' > /etc/docker/daemon.json")
        assert "daemon-json-invalid" in findings(toy.run("audit", "one", "--output", "json"))
    finally:
        host.run(f"printf %s '{kept}' > /etc/docker/daemon.json" if kept else "rm -f /etc/docker/daemon.json")


def test_a_mount_that_is_missing_is_found_and_stops_a_deploy(toy: Toy, host: Box, tmp_path: Path) -> None:
    shutil.copytree(toy.folder, tmp_path / "copy")
    stack = tmp_path / "copy/stack.yml"
    declared = "mounts:\n  - {path: /mnt/models, fstype: tmpfs, sentinel: .mounted}\n"
    stack.write_text(stack.read_text() + declared)
    chosen = ("one", "--stack", str(stack), "--output", "json")
    host.run("umount /mnt/models 2>/dev/null; mkdir -p /mnt/models; touch /mnt/models/.mounted", check=False)
    try:
        assert "mount-missing" in findings(toy.run("audit", *chosen))
        host.run(f"rm {ASSET}")
        refused = toy.run("deploy", *chosen, "--yes")
        assert refused.code == 6 and "nothing is mounted at /mnt/models" in refused.err
        assert refused.document["changed_from"] is None
        host.run("mount -t tmpfs none /mnt/models")
        assert "mount-sentinel-missing" in findings(toy.run("audit", *chosen))
        host.run("touch /mnt/models/.mounted")
        assert set(findings(toy.run("audit", *chosen))) == {"drift-file"}
        _deploy_while_the_mount_goes(toy, host, stack)
        host.run("mount -t tmpfs none /mnt/models && touch /mnt/models/.mounted")
        assert toy.run("deploy", *chosen, "--yes").code == 0
        assert findings(toy.run("audit", *chosen)) == {}
    finally:
        host.run("umount /mnt/models; rm -rf /mnt/models", check=False)


def _deploy_while_the_mount_goes(toy: Toy, host: Box, stack: Path) -> None:
    """The plan saw it; right before start it is looked at again."""
    host.run("docker stop audited-one-web-1")
    watcher = f"while ! ls {ASSET}; do sleep 0.05; done"
    with ThreadPoolExecutor(1) as beside:
        gone = beside.submit(host.run, f"{watcher} >/dev/null 2>&1; umount /mnt/models", timeout=120)
        done = toy.deploy("one", "--stack", str(stack))
        gone.result()
    assert done.code == 6 and "nothing is mounted at /mnt/models" in done.err, done.text[-3000:]
    assert {stage["name"] for stage in done.document["stages"] if stage["status"] == "changed"} == {"render"}
    running = host.run("docker ps --format '{{.Names}}'")
    assert "audited-one-web-1" not in running, "nothing was started on an empty directory"


def test_a_host_that_is_down_is_a_finding_and_the_others_are_audited(toy: Toy, host: Box, tmp_path: Path) -> None:
    shutil.copytree(toy.folder / "inventories", tmp_path / "inventories")
    more = "standby: {hosts: {gone: {ansible_port: 1, canary_address: 127.0.0.1}}}\n"
    (tmp_path / "inventories/one/more.yml").write_text(more)
    where = ("one", "--inventories", str(tmp_path / "inventories"))
    host.run(f"echo 'PermitRootLogin yes' > {LOGINS}")
    try:
        done = toy.run("audit", *where, "--output", "json")
    finally:
        host.run(f"rm {LOGINS}")
    assert done.code == 3
    assert {(row["host"], name) for name, row in findings(done).items()} == {
        ("gone", "host-unreachable"),
        ("canary-1", "ssh-root-login"),
    }
    assert toy.run("audit", *where, "--limit", "canary-1").code == 0


def test_a_pin_that_is_missing_is_told_from_a_host_that_is_down(toy: Toy, host: Box, tmp_path: Path) -> None:
    shutil.copytree(toy.folder / "inventories", tmp_path / "inventories")
    options = f"-o UserKnownHostsFile={tmp_path}/none -o GlobalKnownHostsFile=none -o IdentitiesOnly=yes"
    extra = tmp_path / "inventories/one/host_vars/canary-1.yml"
    extra.parent.mkdir()
    extra.write_text(f"ansible_ssh_common_args: '{options}'\n")
    done = toy.run("audit", "one", "--inventories", str(tmp_path / "inventories"), "--output", "json")
    assert done.code == 3 and set(findings(done)) == {"host-key-unpinned"}


def test_sarif_of_a_real_host(toy: Toy, host: Box) -> None:
    host.run(f"echo 'PasswordAuthentication yes' > {LOGINS}")
    try:
        done = toy.run("audit", "one", "--output", "sarif")
    finally:
        host.run(f"rm {LOGINS}")
    assert done.code == 0 and done.document["version"] == "2.1.0"
    (run,) = done.document["runs"]
    (result,) = [one for one in run["results"] if one["ruleId"] == "ssh-password-login"]
    assert result["level"] == "warning" and result["locations"][0]["logicalLocations"][0]["name"] == "canary-1"


def test_markdown_ready_to_paste(toy: Toy, host: Box) -> None:
    done = toy.run("audit", "one", "--output", "markdown")
    assert done.code == 0 and done.out.startswith("# Audit of one: passed\n")


def test_offline_touches_no_host(toy: Toy, host: Box) -> None:
    host.cut_ssh()
    try:
        done = toy.run("audit", "one", "--offline", "--output", "json")
    finally:
        host.mend_ssh()
    assert done.code == 0 and done.document["stages"] == []
