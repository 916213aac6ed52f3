"""A host of the lab that serves a small stack, and the project that deploys there: a page, a database, a migration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canaryctl.lab.state import Lab
from faults.cells import CONFIRM
from faults.poller import Poller

ROOT = Path(__file__).parents[2]
CTL = str(Path(sys.executable).with_name("canaryctl"))
STACK_NAME, ENVIRONMENT, PORT = "served", "box", 17800
PROJECT = f"{STACK_NAME}-{ENVIRONMENT}"
WEB = "ktrdr-backend:test"  # as in project/stack.yml

_PASSWORD = "served-3fd1c05e92"


@dataclass
class Done:
    """A canaryctl that has ended. `peak`: the most memory it had, in MiB."""

    code: int
    out: str
    err: str
    peak: float = 0.0

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def document(self) -> dict[str, Any]:
        try:
            found = json.loads(self.out)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass
class Lane:
    """One host and its project. `version` is what it was last seen to serve after a deploy that passed."""

    lab: Lab
    host: str
    folder: Path
    version: str = ""
    releases: dict[str, str] = field(default_factory=dict)  # version -> release id, of those that passed
    number: int = 0
    birth: frozenset[str] = frozenset()  # leftovers that were there before anything was tried

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "tmp").mkdir(parents=True)
        self.write("canaryctl.yml", "stack: stack.yml\ninventories: inventories\nruns: runs\n")
        base = f"inventories/{ENVIRONMENT}"
        self.write(f"{base}/hosts.yml", json.dumps({"servers": {"hosts": {self.host: {}}}}))
        policy = {
            "canary_provision": "auto",
            "canary_confirm": f"{CONFIRM}s",
            "canary_secrets": {"DB_PASSWORD": _PASSWORD},
        }
        self.write(f"{base}/group_vars/all/policy.yml", json.dumps(policy))
        shutil.copy(ROOT / "inventories/canary/group_vars/all/connection.yml", self.folder / base / "group_vars/all")
        self.env = {
            **os.environ,
            "CANARYCTL_LAB": self.lab.name,
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONFAULTHANDLER": "1",
        }
        self.poller = Poller(self.container, f"http://127.0.0.1:{PORT}/version")

    @property
    def container(self) -> str:
        return self.lab.hosts[self.host].container

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def next_version(self, *, pause: float = 0, look: float = 0) -> str:
        """Write a release that was never deployed; its migration takes `pause` seconds, its probes `look`."""
        self.number += 1
        version = f"v{self.number}-{int(time.time())}"
        words = {"@VERSION@": version, "@PAUSE@": str(pause), "@LOOK@": str(look), "@PORT@": str(PORT)}
        for file in Path(__file__).with_name("project").iterdir():
            text = file.read_text()
            for word, value in words.items():
                text = text.replace(word, value)
            self.write(file.name, text)
        return version

    def begin(self, *argv: str) -> subprocess.Popen[str]:
        """canaryctl in the project, in a session of its own."""
        return subprocess.Popen(
            [CTL, *argv],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(self, *argv: str, timeout: float = 300) -> Done:
        """canaryctl in the project, to its end."""
        began = self.begin(*argv)
        try:
            out, err = began.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            began.kill()
            out, err = began.communicate()
            return Done(124, out, f"{err}\ntimed out after {timeout:.0f} s")
        return Done(began.returncode, out, err)

    def deploy(self, *more: str) -> Done:
        return self.run("deploy", ENVIRONMENT, "--yes", "--output", "json", *more)

    def remember(self, version: str, done: Done) -> None:
        """That a version passed and serves."""
        self.version = version
        self.releases[version] = str((done.document.get("release") or {}).get("id") or "")

    def in_host(self, script: str, timeout: float = 120) -> str:
        """What a shell command says on the host, as root and not through SSH."""
        argv = ["docker", "exec", self.container, "sh", "-c", script]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            return f"(no answer to `{script[:60]}` within {timeout:.0f} s)\n"
        return done.stdout

    def make_well(self) -> str:
        """See to it that something that passed serves; says what had to be done for that, or ''."""
        if self.version and self.poller.wait_for([self.version], 5):
            return ""
        told = ""
        for attempt in ("deployed anew", "deployed anew twice", "made anew"):
            subprocess.run([CTL, "lab", "up", "--name", self.lab.name, "--hosts", self.host], capture_output=True)
            if attempt == "made anew":
                self.clean()
            version = self.next_version()
            done = self.deploy()
            if done.code == 0 and self.poller.wait_for([version], 10):
                told = f"the host was {attempt}" if self.version else ""
                self.remember(version, done)
                return told
        raise SystemExit(f"{self.host}: nothing can be deployed any more:\n{done.text[-3000:]}")

    def clean(self) -> None:
        """Leave nothing of the stack on the host but its images."""
        self.releases.clear()
        self.in_host(
            f"""
            systemctl start docker.socket docker.service ssh.service
            systemctl stop 'canaryctl-{STACK_NAME}*'
            rm -rf /opt/canaryctl/{STACK_NAME}
            docker ps -aq --filter name={PROJECT} | xargs -r docker rm -f
            docker volume ls -q | grep ^{PROJECT} | xargs -r docker volume rm
            docker network ls --format '{{{{.Name}}}}' | grep ^{PROJECT} | xargs -r docker network rm
            """
        )
