"""A lab host of a file's own for the roles docker_engine and nvidia_container_toolkit, and plays of them on it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from conftest import CTL, ROOT, Box
from conftest import LAB as TESTS_LAB
from toy import settled_connection

from canaryctl import lab as labs

LAB = f"{TESTS_LAB}-gpu"
ENV = {"BASE_IMAGE": "canaryctl/base:trixie", **os.environ, "CANARYCTL_LAB": LAB}
TOOLKIT = "nvidia_container_toolkit"
SIGNED = ROOT / "tests" / "fixtures" / "apt"
EXPIRED = {
    "nvidia_container_toolkit_repository_url": "file:/srv/expired",
    "nvidia_container_toolkit_repository_key": (SIGNED / "expired-key.asc").read_text(),
}
MIRROR = f"mkdir -p /srv/expired && cat >/srv/expired/InRelease <<'E'\n{(SIGNED / 'InRelease').read_text()}E\n"


@dataclass(frozen=True)
class Played:
    """A finished ansible-playbook."""

    code: int
    text: str
    changed: int

    @property
    def message(self) -> str:
        """Everything said, on one line with single spaces."""
        return " ".join(self.text.split())


Play = Callable[..., Played]


@contextlib.contextmanager
def alone(host: str, *options: str) -> Iterator[Box]:
    """A lab with this host alone, made by `lab up` with these options and gone afterwards."""

    def lab(*argv: str) -> None:
        done = subprocess.run([CTL, "lab", *argv, "--name", LAB], cwd=ROOT, env=ENV, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    lab("down", "--purge")
    try:
        lab("up", "--hosts", host, *options)
        found = labs.require(LAB).hosts[host]
        yield Box(host, found.container, found.address, found.port)
    finally:
        lab("down", "--purge")


def player(host: str, folder: Path) -> Play:
    """Run roles (provision.yml without any) on the host, with plain ansible-playbook.

    `at`: a task's name, and what happens to the host when that begins.
    """
    inventory = folder / "inventory"
    shared = inventory / "group_vars" / "all"
    shared.mkdir(parents=True, exist_ok=True)
    (shared / "gpu.yml").write_text((ROOT / "inventories/staging/group_vars/gpu_workers/gpu.yml").read_text())
    (inventory / "hosts.yml").write_text(f"all: {{hosts: {{{host}: }}}}\n")
    env = {**ENV, "ANSIBLE_ROLES_PATH": str(ROOT / "roles"), "ANSIBLE_PIPELINING": "1"}

    def run(
        *roles: str, check: bool = False, at: tuple[str, Callable[[], object]] | None = None, **variables: Any
    ) -> Played:
        (shared / "connection.yml").write_text(settled_connection(LAB, [host]))
        book = ROOT / "playbooks" / "provision.yml"
        if roles:
            book = folder / f"{'-'.join(roles)}.yml"
            book.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "become": True, "roles": roles}]))
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(book)]
        argv += ["--extra-vars", json.dumps(variables), *(["--check"] if check else [])]
        process = subprocess.Popen(
            argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        too_long = threading.Timer(300, process.kill)
        too_long.start()
        text = ""
        for line in process.stdout or ():
            text += line
            if at and at[0] in line:
                at[1]()
        code = process.wait()
        too_long.cancel()
        changed = [int(line.partition("changed=")[2].split()[0]) for line in text.splitlines() if "changed=" in line]
        return Played(code, text, changed[-1] if changed else -1)

    return run


def options(box: Box) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(box.run("cat /etc/docker/daemon.json"))
    return found


def user_sets(box: Box, key: str, value: object) -> dict[str, Any]:
    """An option of the user's own gets into daemon.json; returns all there are then."""
    mine = options(box) | {key: value}
    box.run(f"cat >/etc/docker/daemon.json <<'E'\n{json.dumps(mine)}\nE")
    return mine


def started(box: Box) -> str:
    """When Docker was started."""
    return box.run("systemctl show docker -p ExecMainStartTimestampMonotonic")
