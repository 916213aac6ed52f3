"""No secret is anywhere but where it belongs: every source, hostile characters, a good run and a failing one."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Box, Ctl, Result
from leaks import Sampler, in_bytes, in_files, on_host
from toy import Toy

pytestmark = pytest.mark.lab

VALUES = {
    "VAULTED": "Va\"ult'ed\\ $ecret/+&<%>\u00e9-K7pQ",
    "FROM_FILE": "f!le val#ue \"q\" 'a' $HOME `id` ;|& ${X} 0aZ9",
    "FROM_ENV": 'env=val+ue/with?%20&"quotes"\\n-Zz41',
    "FROM_COMMAND": "c0mmand\tanswer \\ {{ braces }} ~*()[]-9q",
    "MULTI": "-----BEGIN TEST KEY-----\nleakTestLine0123456789+/abcdef\nsecondLeakLine==\n-----END TEST KEY-----",
}
STACK = """\
stack: leaky
images: {{web: {{tag: "ktrdr-backend:test"}}}}
variants: {{only: {{web: web, other: web}}}}
placement: {{all: [web, other]}}
compose: compose.yml.j2
start_timeout: 30
secrets: [{names}]
"""
COMPOSE = """\
services:
  web:
    image: "{{{{ images.web }}}}"
    pull_policy: never
    user: "0"
    stop_grace_period: 1s
    environment: {{{variables}}}
    command: [sh, -c, '{loud}; exec python3 -m http.server 8000']
    ports: ["{{{{ address }}}}:{port}:8000"]
    healthcheck:
      test: [CMD-SHELL, '{loud}; python3 -m ktrdr.healthcheck 8000 /']
      interval: 3s
      retries: 2
      start_period: 2s
      start_interval: 300ms
  other:
    image: "{{{{ images.other }}}}"
    pull_policy: never
    user: "0"
    stop_grace_period: 1s
    command: [python3, -m, http.server, "8000"]
    healthcheck: {{test: [CMD, python3, -m, ktrdr.healthcheck, "8000", /], interval: 3s, start_interval: 300ms}}
"""
# In the environments of processes that may hold a secret: the service that uses them, and whoever the operator started.
SERVICE, OPERATOR = "LEAKY_SERVICE=yes", "LEAKY_OPERATOR=yes"


@dataclass(frozen=True)
class Ran:
    """Both runs, and what was seen of processes meanwhile."""

    good: Result
    bad: Result
    seen: list[str]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    folder = tmp_path_factory.mktemp("leaky") / "project"
    made = Toy(folder, "leaky", 18432, ctl, box, env={"LEAKY_VARIABLE": VALUES["FROM_ENV"], "LEAKY_OPERATOR": "yes"})
    made.write("stack.yml", STACK.format(names=", ".join(VALUES)))
    variables = ", ".join([*(f'{name}: "${{{name}}}"' for name in VALUES), 'LEAKY_SERVICE: "yes"'])
    loud = "; ".join(f'printf "%s\\n" "$${name}"' for name in VALUES)
    made.write("compose.yml.j2", COMPOSE.format(variables=variables, loud=loud, port=made.port))
    private = folder.parent / "private"
    private.mkdir()
    for name in ("FROM_FILE", "FROM_COMMAND", "MULTI"):
        (private / name).write_text(VALUES[name] + "\n")
    (private / "vault").write_text("the vault's password\n")
    sources = {
        "FROM_FILE": {"file": str(private / "FROM_FILE")},
        "MULTI": {"file": str(private / "MULTI")},
        "FROM_ENV": {"env": "LEAKY_VARIABLE"},
        "FROM_COMMAND": {"command": ["cat", str(private / "FROM_COMMAND")]},
        "VAULTED": "{{ leaky_vaulted }}",
    }
    made.environment("one", "canary-1", variables={"all": {"canary_secrets": sources}})
    made.write("inventories/one/group_vars/all/vaulted.yml", f"leaky_vaulted: !vault |\n{vaulted(VALUES['VAULTED'])}")
    yield made
    made.clean()


def vaulted(value: str) -> str:
    from ansible.parsing.vault import VaultLib, VaultSecret

    content = VaultLib([("default", VaultSecret(b"the vault's password"))]).encrypt(value)
    return textwrap.indent(bytes(content).decode(), "  ")


def deploy(toy: Toy, *more: str) -> Result:
    return toy.deploy("one", "--vault-password-file", str(toy.folder.parent / "private" / "vault"), *more)


@pytest.fixture(scope="module")
def ran(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    allowed = {name: [SERVICE, *([OPERATOR] if name == "FROM_ENV" else [])] for name in VALUES}
    stop = str(tmp_path_factory.mktemp("sampling") / "stop")
    samplers = [
        Sampler(VALUES, allowed, stop),
        Sampler(VALUES, {name: [SERVICE] for name in VALUES}, "/run/leaky.stop", toy.box("canary-1").container),
    ]
    try:
        good = deploy(toy, "--diff")
        back = toy.edit("compose.yml.j2", "ktrdr.healthcheck 8000 /'", "ktrdr.healthcheck 8000 /none'")
        bad = deploy(toy, "-v")
        back()
    finally:
        seen = [found for sampler in samplers for found in sampler.findings()]
    return Ran(good, bad, seen)


def test_services_get_exactly_the_values(toy: Toy, ran: Ran) -> None:
    assert ran.good.code == 0, ran.good.text[-3000:]
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    found = json.loads(toy.box("canary-1").run(f"docker exec leaky-one-web-1 python3 -c '{program}'"))
    assert {name: found[name] for name in VALUES} == VALUES


def test_the_failing_run_failed_over_the_service_that_prints_them(ran: Ran) -> None:
    assert ran.bad.code == 6, ran.bad.text[-3000:]
    assert "[secret FROM_FILE]" in ran.bad.text


def test_no_output_holds_one(ran: Ran) -> None:
    assert in_bytes(VALUES, ran.good.text.encode()) == []
    assert in_bytes(VALUES, ran.bad.text.encode()) == []


def test_no_evidence_holds_one(toy: Toy, ran: Ran) -> None:
    for result in (ran.good, ran.bad):
        directory = Path(result.document["directory"])
        directory = directory if directory.is_absolute() else toy.folder / directory
        logs = (directory / "hosts/canary-1/logs/web.log").read_text()
        assert all(f"[secret {name}]" in logs for name in VALUES), "the service printed none, so this proves nothing"
        assert in_files(VALUES, directory) == []
        for form in ("md", "html", "junit", "json"):
            shown = toy.run("runs", "show", result.document["id"], "--format", form)
            assert in_bytes(VALUES, shown.text.encode()) == []


def test_no_process_shows_one(ran: Ran) -> None:
    assert ran.seen == []


def test_nothing_is_left_on_this_machine(toy: Toy, ran: Ran) -> None:
    assert in_files(VALUES, toy.folder) == []
    memory = [Path(entry.path) for entry in os.scandir("/dev/shm") if entry.name.startswith("canaryctl-")]
    assert [found for path in memory for found in in_files(VALUES, path)] == []


def test_a_host_holds_them_in_one_private_file(toy: Toy, ran: Ran) -> None:
    folders = ["/opt/canaryctl", "/tmp", "/var/tmp", "/var/log", "/home", "/root", "/etc", "/dev/shm"]
    found = on_host(toy.box("canary-1").container, VALUES, folders)
    # Docker's own, while it runs a health check: the process it starts, environment included, and as private.
    passing = [path for path in found if path.startswith("/tmp/runc-process")]
    assert {found.pop(path) for path in passing} <= {"0600 0"}
    assert found == {f"{toy.root}/secrets.env": "0600 0"}
    mode = toy.box("canary-1").run(f"stat -c '%a %U' {toy.root}/secrets.applied.json")
    assert mode.split() == ["600", "root"]


def test_only_the_service_that_uses_them_has_them_in_docker(toy: Toy, ran: Ran) -> None:
    box = toy.box("canary-1")
    others = box.run("docker ps -aq --filter name=^leaky-one-other").split()
    assert others
    assert in_bytes(VALUES, box.run(f"docker inspect {' '.join(others)}").encode()) == []
    assert in_bytes(VALUES, box.run("docker images -q | sort -u | xargs docker inspect").encode()) == []


def test_no_log_of_the_host_holds_one(toy: Toy, ran: Ran) -> None:
    box = toy.box("canary-1")
    journal = box.run("journalctl --no-pager --output cat --lines 20000 2>/dev/null || true")
    assert journal, "there is a journal to look at"
    assert in_bytes(VALUES, journal.encode()) == []
