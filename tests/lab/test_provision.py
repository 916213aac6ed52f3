"""The playbooks on a real host, under plain ansible-playbook and through the apply room."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from canaryctl import lab
from canaryctl.ansible import AnsibleOptions, Session, StageOrder, StageRun, run_stage

pytestmark = [pytest.mark.lab, pytest.mark.whole_lab]

ROOT = Path(__file__).parents[2]
INVENTORY = ROOT / "inventories" / "fleet"
HOST = "staging-gpu"
SECRET = "only-for-the-toy"
COMPOSE = """
services:
  db:
    image: {image}
    pull_policy: never
    command: ["sleep", "infinity"]
    init: true
    stop_grace_period: 1s
    volumes: ["data:/data"]
    healthcheck: {{test: ["CMD", "true"], interval: 1s, start_period: 30s, start_interval: 1s}}
  web:
    image: {image}
    pull_policy: never
    command: ["sh", "-c", "{command}"]
    init: true
    stop_grace_period: 1s
    environment: {{PASSWORD: "${{DB_PASSWORD:?}}"}}
    ports: ["127.0.0.1:{port}:80"]
    volumes: ["data:/data", "./assets:/assets:ro"]
    healthcheck: {{test: ["CMD-SHELL", "{health}"], interval: 1s, retries: {retries}}}
volumes: {{data: {{}}}}
"""


@pytest.fixture(autouse=True)
def environment(lab_env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in lab_env.items():
        monkeypatch.setenv(name, value)


def plain(playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(INVENTORY), f"playbooks/{playbook}.yml"]
    return subprocess.run([*argv, *options], cwd=ROOT, capture_output=True, text=True, timeout=300)


def on_host(command: str) -> str:
    made = lab.require(os.environ["CANARYCTL_LAB"])
    argv = lab.ssh_argv(made, HOST, command, batch=True)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def provisioned(whole_lab: None) -> subprocess.CompletedProcess[str]:
    """Provisioning the host for the first time here."""
    return plain("provision", "--limit", HOST)


def test_provisioning_again_changes_nothing(provisioned: subprocess.CompletedProcess[str]) -> None:
    first = provisioned
    assert first.returncode == 0, first.stdout + first.stderr
    second = plain("provision", "--limit", HOST)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "changed=0 " in second.stdout
    assert on_host("sudo docker info --format '{{.ServerVersion}}'").strip()


@pytest.mark.usefixtures("provisioned")
def test_a_ready_host_is_left_alone_in_check_mode_too() -> None:
    checked = plain("provision", "--limit", HOST, "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "changed=0 " in checked.stdout


def test_a_host_that_cannot_be_reached_says_why(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    hosts = {"closed": {"ansible_host": "127.0.0.1", "ansible_port": 1}}
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    found = stage("provision", tmp_path, {}, inventory=inventory, hosts=["closed"]).results["closed"]
    assert (found.status, "the connection was refused" in found.message) == ("unreachable", True)


def stage(name: str, tmp_path: Path, extravars: dict[str, Any], **options: Any) -> StageRun:
    order = StageOrder(
        name,
        inventory=options.pop("inventory", INVENTORY),
        hosts=options.pop("hosts", [HOST]),
        variables=extravars,
        artifacts=tmp_path / "evidence" / name,
        options=AnsibleOptions(**options),
    )
    with Session() as session:
        return run_stage(session, order, on_event=lambda _event: None, scrub=lambda text: text.replace(SECRET, "***"))


Release = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def image(lab_env: Mapping[str, str]) -> str:
    """An image on the host that has a shell and nothing else: the lab's own base."""
    base = lab.base_image(lambda _line: None)
    made = lab.require(lab_env["CANARYCTL_LAB"])
    save = subprocess.Popen(["docker", "save", base], stdout=subprocess.PIPE)
    subprocess.run(lab.ssh_argv(made, HOST, "sudo docker load", batch=True), stdin=save.stdout, check=True, timeout=120)
    assert save.wait() == 0
    return base


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[Release]:
    """Makes a rendered release and the variables that go with it; the stack is gone afterwards, data included."""
    folder = tmp_path_factory.mktemp("releases")
    secrets = folder / "secrets.env"
    secrets.touch(0o600)
    secrets.write_text(f"DB_PASSWORD={SECRET}\n")

    def make(name: str, **changes: Any) -> dict[str, Any]:
        values = {"image": image, "command": "sleep infinity", "health": "true", "port": 18997, "retries": 2}
        source = folder / name
        (source / "assets").mkdir(parents=True, exist_ok=True)
        (source / "assets" / "note").write_text(name)
        migration = {
            "service": "web",
            "host": HOST,
            "database": ["db"],
            "database_hosts": {"db": [HOST]},
            "upgrade": "echo 0002 > /data/revision",
            "current": "cat /data/revision 2>/dev/null || true",
            "heads": "echo 0002",
            "timeout": 60,
            "marker": {"release": name},
        }
        migration |= changes.pop("migration", {})
        (source / "compose.yml").write_text(changes.pop("compose", COMPOSE.format(**{**values, **changes})))
        (source / "release.json").write_text(json.dumps({"id": name}))
        host = {"become": True, "release": name, "source": str(source), "secrets_source": str(secrets)}
        return {
            "canary_stack": "applytoy",
            "canary_environment": "fleet",
            "canary_root": "/opt/canaryctl",
            "canary_project": "applytoy-fleet",
            "canary_hosts": {HOST: {**host, "replaces": [], "wait_timeout": 30}},
            "canary_migration": migration,
        }

    yield make
    clear()


def clear() -> None:
    """Nothing of the stack is on the host."""
    ours = "docker {} -q --filter label=com.docker.compose.project=applytoy-fleet | xargs -r docker {}"
    removed = [
        ours.format("ps -a", "rm -f"),
        ours.format("volume ls", "volume rm"),
        ours.format("network ls", "network rm"),
    ]
    on_host(f"sudo sh -c '{'; '.join([*removed, 'rm -rf /opt/canaryctl/applytoy'])}'")


@pytest.fixture
def bare(release: Release) -> None:
    """Nothing of the stack is on the host."""
    clear()


@pytest.fixture
def one(release: Release, tmp_path: Path) -> dict[str, Any]:
    """The release `one` serves on the host, its data migrated, as the tests before leave it."""
    wanted, root = release("one"), "/opt/canaryctl/applytoy"
    running = "sudo docker ps --filter label=com.docker.compose.project=applytoy-fleet --format '{{.State}}'"
    look = f"{running}; readlink {root}/current; grep -o 0002 {root}/migrated.json; true"
    if on_host(look).split() != ["running", "running", "releases/one", "0002"]:
        clear()
        for name in ("render", "migrate", "start"):
            stage(name, tmp_path, wanted)
    return wanted


@pytest.mark.usefixtures("bare")
def test_a_release_goes_all_the_way_and_a_second_time_changes_nothing(release: Release, tmp_path: Path) -> None:
    wanted = release("one")
    for name in ("render", "migrate", "start"):
        found = stage(name, tmp_path, wanted).results[HOST]
        assert found.status == "changed", f"{name}: {found.message}"
    again = {name: stage(name, tmp_path, wanted) for name in ("render", "migrate", "start")}
    assert {name: run.results[HOST].status for name, run in again.items()} == dict.fromkeys(again, "ok")
    told = again["migrate"].stats["canary_migration_result"]
    assert told == {"before": "0002", "after": "0002", "heads": "0002", "backup": {}, "backup_note": ""}
    assert json.loads(on_host("cat /opt/canaryctl/applytoy/migrated.json")) == {"release": "one", "revision": "0002"}
    assert on_host("readlink /opt/canaryctl/applytoy/current").strip() == "releases/one"
    assert on_host("stat -c %a:%U /opt/canaryctl/applytoy/secrets.env").strip() == "600:root"
    kept = "".join(path.read_text() for path in (tmp_path / "evidence").rglob("*") if path.is_file())
    assert SECRET not in kept
    assert "ANSIBLE_CONFIG" not in kept


@pytest.mark.usefixtures("one")
def test_a_file_that_compose_rejects_leaves_the_host_as_it_was(release: Release, tmp_path: Path) -> None:
    before = on_host("sudo find /opt/canaryctl/applytoy | sort")
    found = stage("render", tmp_path, release("two", compose="services: {web: {imagine: x}}\n")).results[HOST]
    assert found.status == "failed"
    assert "compose rejects" in found.message
    assert "imagine" in found.message
    assert on_host("sudo find /opt/canaryctl/applytoy | sort") == before


@pytest.mark.usefixtures("one")
def test_a_difference_is_shown_and_not_made_in_check_mode(release: Release, tmp_path: Path) -> None:
    shown = stage("render", tmp_path, release("two", port=18996), check=True, diff=True)
    assert "+    ports:" in shown.diffs[HOST]
    assert "18996" in shown.diffs[HOST]
    assert "two" not in on_host("ls -A /opt/canaryctl/applytoy/releases")


@pytest.mark.usefixtures("one")
def test_a_failed_migration_leaves_the_services_and_says_where_the_revision_is(
    release: Release, tmp_path: Path
) -> None:
    serving = on_host("sudo docker ps -q --no-trunc | sort")
    bad = release("one", migration={"upgrade": "echo boom >&2; exit 1"})
    run = stage("migrate", tmp_path, bad)
    assert run.results[HOST].status == "failed"
    assert "the revision is still 0002" in run.results[HOST].message
    assert "boom" in run.results[HOST].message
    moved = release("one", migration={"upgrade": "echo 0003 > /data/revision; exit 1"})
    run = stage("migrate", tmp_path, moved)
    assert "the revision moved from 0002 to 0003 all the same" in run.results[HOST].message
    assert run.stats["canary_migration_result"]["after"] == "0003"
    assert on_host("sudo docker ps -aq --no-trunc | sort") == serving


@pytest.mark.usefixtures("bare")
def test_a_service_that_never_becomes_healthy_is_named_with_its_last_words(release: Release, tmp_path: Path) -> None:
    bad = release("bad", command="echo something is wrong; sleep infinity", health="echo no answer; exit 1")
    stage("render", tmp_path, bad)
    found = stage("start", tmp_path, bad).results[HOST]
    assert found.status == "failed"
    assert "web is unhealthy: no answer" in found.message
    assert found.detail is not None
    assert "something is wrong" in found.detail["services"]["web"]["log"]
    assert "db" not in found.detail["services"]


@pytest.mark.usefixtures("bare")
def test_a_port_that_is_taken_is_named(release: Release, tmp_path: Path) -> None:
    bad = release("bad", port=22)
    stage("render", tmp_path, bad)
    found = stage("start", tmp_path, bad).results[HOST]
    assert found.status == "failed"
    assert "address already in use" in found.message
    assert "127.0.0.1:22" in found.message


@pytest.mark.usefixtures("bare")
def test_an_interrupted_start_leaves_no_process_here_and_the_host_goes_on_until_the_next(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = release("slow", health="exit 1", retries=1000)
    slow["canary_hosts"][HOST]["wait_timeout"] = 300
    stage("render", tmp_path, slow)
    # A directory of its own, short enough for sockets, tells this run's processes from everybody else's.
    private = tempfile.mkdtemp(prefix="canaryctl-test-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", private)
    waiting = "pgrep -fa 'docker.*[a]pplytoy-fleet.* up' || true"
    worker = os.fork()
    if worker == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            stage("start", tmp_path, slow)
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(0)
    deadline = time.monotonic() + 60
    while not on_host(waiting):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(worker, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 130
    time.sleep(2)
    assert on_host(waiting), "nobody would confirm it, so nothing is taken back: the host finishes what it has begun"
    assert on_host("pgrep -fa '[A]nsiballZ_compose_up' || true") == ""
    good = release("good")
    stage("render", tmp_path, good)
    assert stage("start", tmp_path, good).results[HOST].status == "changed"
    assert on_host(waiting) == "", "the next start takes its place"
    assert subprocess.run(["pgrep", "-fa", private], capture_output=True, text=True).stdout == ""
    Path(private).rmdir()
