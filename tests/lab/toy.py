"""A stack small enough to deploy in seconds: one service that serves files, on the example's backend image.

Each test module makes its own, with a name, port and environments of its own, so that it lives beside the example.
Health is looked at often while a service starts and seldom afterwards: a look costs a twentieth of a second of a core.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import LAB, ROOT, Box, Ctl, Result

from canaryctl import lab as labs

STACK = """\
stack: {name}
images: {{web: {{tag: "ktrdr-backend:test"}}}}
variants: {{only: {{web: web}}}}
placement: {{all: [web]}}
compose: compose.yml.j2
start_timeout: 30
"""
COMPOSE = """\
services:
  web:
    image: "{{{{ images.web }}}}"
    pull_policy: never
    init: true
    entrypoint: []
    command: [python3, -m, http.server, "8000"]
    user: "0"
    stop_grace_period: 1s
    ports: ["{{{{ address }}}}:{port}:8000"]
    volumes: [data:/data]
    healthcheck:
      test: [CMD, python3, -m, ktrdr.healthcheck, "8000", /]
      interval: 3s
      timeout: 3s
      retries: 2
      start_period: 10s
      start_interval: 300ms
volumes: {{data: {{}}}}
"""
MIGRATIONS = """\
migrations:
  service: web
  current: "cat /data/revision 2>/dev/null || echo 0001"
  upgrade: "echo 0002 > /data/revision"
"""
PROBES = """\
- name: Front Page
  kind: http
  on: all
  url: "http://{{{{ address }}}}:{port}/"
  expect: {{status: 200}}
  eventually: 5s
  every: 300ms
  timeout: 3s
"""
_CLEANED: set[tuple[str, str]] = set()  # containers of hosts and names of stacks


def settled_connection(lab: str, hosts: Iterable[str]) -> str:
    """The examples' connection.yml as it reads for hosts of this lab; for those that no lab has, as it stands.

    Ansible looks up for each task again, a skipped one too, what the ways to a host say: 20 ms of a core.
    """
    made = labs.require(lab)
    text = (ROOT / "inventories/canary/group_vars/all/connection.yml").read_text()
    ports = {host: entry.port for host, entry in made.hosts.items()}
    settled = {"{{ lab_directory }}": str(made.directory)}
    if ports.keys() >= set(hosts):
        settled["{{ lab_host.port }}"] = f"{{{{ {ports}[inventory_hostname] }}}}"
    for looked_up, found in settled.items():
        assert looked_up in text
        text = text.replace(looked_up, found)
    return text


@dataclass
class Toy:
    """A project folder with a stack, and canaryctl run in it.

    `hosts` are where it may have left something; `env` adds to what canaryctl runs with.
    """

    folder: Path
    name: str
    port: int
    ctl: Ctl
    box: Callable[[str], Box]
    hosts: set[str] = field(default_factory=set)
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write("canaryctl.yml", "stack: stack.yml\ninventories: inventories\nruns: runs\n")
        self.write("stack.yml", STACK.format(name=self.name))
        self.write("compose.yml.j2", COMPOSE.format(port=self.port))
        self.write("probes.yml", PROBES.format(port=self.port))

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def edit(self, path: str, old: str, new: str) -> Callable[[], None]:
        """Replace text in a file of the project; the answer puts it back."""
        file = self.folder / path
        before = file.read_text()
        assert old in before, f"{old!r} is not in {path}"
        file.write_text(before.replace(old, new))

        def back() -> None:
            file.write_text(before)

        return back

    def environment(self, name: str, *hosts: str, variables: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """An environment over lab hosts and such as are not there; `variables` by host, `all` for every one.

        The first of a session that has a host finds nothing of the stack there, whatever an earlier session left.
        """
        lab = self.env.get("CANARYCTL_LAB", LAB)
        there = set(hosts) & labs.require(lab).hosts.keys()
        self.hosts |= there
        unknown = {host for host in there if (self.box(host).container, self.name) not in _CLEANED}
        _CLEANED.update((self.box(host).container, self.name) for host in unknown)
        if unknown:
            self.clean(*unknown)
        base = f"inventories/{name}"
        entries = {host: dict((variables or {}).get(host, {})) for host in hosts}
        self.write(f"{base}/hosts.yml", json.dumps({"servers": {"hosts": entries}}))
        connection = self.folder / base / "group_vars/all/connection.yml"
        connection.parent.mkdir(parents=True, exist_ok=True)
        connection.write_text(settled_connection(lab, hosts))
        policy = {"canary_provision": "auto", **(variables or {}).get("all", {})}
        self.write(f"{base}/group_vars/all/policy.yml", json.dumps(policy))

    def run(self, *argv: str, **more: Any) -> Result:
        """canaryctl in the project's folder."""
        return self.ctl(*argv, cwd=self.folder, **{"env": self.env, **more})

    def deploy(self, environment: str, *more: str) -> Result:
        """A deploy whose document is wanted."""
        return self.run("deploy", environment, "--yes", "--output", "json", *more)

    @property
    def root(self) -> str:
        """The stack's folder on hosts."""
        return f"/opt/canaryctl/{self.name}"

    def state(self, host: str) -> dict[str, str]:
        """Everything a refused or failed command must leave as it was: containers, files, the release in use."""
        look = (
            f"cd {self.root} 2>/dev/null || exit 0; readlink current; "
            "find . -name '*.json' -o -name '*.yml' -o -name '*.env' | sort | xargs -r sha256sum"
        )
        containers = f"docker ps --no-trunc --filter name=^{self.name}- --format '{{{{.ID}}}} {{{{.Names}}}}' | sort"
        box = self.box(host)
        return {"files": box.run(look), "containers": box.run(f"command -v docker >/dev/null && {containers} || true")}

    def history(self, host: str) -> list[dict[str, Any]]:
        """The lines operators share; none where nothing was deployed."""
        lines = self.box(host).run(f"cat {self.root}/history.jsonl 2>/dev/null || true").splitlines()
        return [json.loads(line) for line in lines]

    def clean(self, *hosts: str) -> None:
        """Leave nothing of the stack on its hosts, but what its image is made of: the next toy need not send it."""
        wanted = ["docker", "image", "inspect", "--format", "{{.Id}}", "ktrdr-backend:test"]
        image = subprocess.run(wanted, capture_output=True, text=True).stdout.strip()
        script = f"""
            rm -rf {self.root}
            command -v docker >/dev/null || exit 0
            docker tag {image} layers:kept 2>/dev/null
            docker ps -aq --filter name=^{self.name}- | xargs -r docker rm -f
            docker volume ls -q | grep ^{self.name}- | xargs -r docker volume rm
            docker network ls --format '{{{{.Name}}}}' | grep ^{self.name}- | xargs -r docker network rm
            docker images -q 'canaryctl/{self.name}/*' --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | xargs -r docker rmi
        """
        for host in hosts or self.hosts:
            self.box(host).run(script, check=False)


def evidence(ctl: Ctl, document: Mapping[str, Any]) -> Path:
    """The directory of a run, which must hold what was printed and verify against its manifest."""
    directory = Path(document["directory"])
    directory = directory if directory.is_absolute() else ROOT / directory
    recorded = json.loads((directory / "run.json").read_text())
    assert recorded["verdict"] == document["verdict"] and recorded["exit_code"] == document["exit_code"]
    assert ctl("runs", "verify", document["id"]).code == 0
    return directory


def tells(result: Result, code: int, *words: str) -> None:
    """An operator sees this exit code and these words, what to do next, and no traceback."""
    assert result.code == code, f"exit {result.code}, not {code}:\n{result.text[-3000:]}"
    assert "Traceback" not in result.text, result.text[-3000:]
    missing = [word for word in words if word not in result.err]
    assert not missing, f"{missing} is not said:\n{result.err[-3000:]}"
    assert "help: " in result.err, f"nothing says what to do next:\n{result.err[-3000:]}"
