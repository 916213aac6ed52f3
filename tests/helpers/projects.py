"""A small project whose host is this machine, and its commands run in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from canaryctl.cli.main import app
from canaryctl.errors import CanaryError

STACK = """\
stack: shop
images: {web: {tag: "shop-web:no-such-tag"}}
variants: {only: {web: web}}
placement: {all: [web]}
secrets: [TOKEN]
compose: compose.yml
"""
LOST = {"ansible_host": "127.0.0.1", "ansible_port": 1}  # where nobody listens


@dataclass(frozen=True)
class Done:
    """How a command ended. An expected failure that would have been printed is `error`."""

    code: int
    out: str
    err: str
    error: CanaryError | None

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def ctl(*argv: str) -> Done:
    """Run a command of canaryctl here, with no terminal."""
    done = CliRunner().invoke(app, argv)
    if isinstance(done.exception, CanaryError):
        return Done(done.exception.exit_code, done.stdout, done.stderr, done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr, None)


def make_project(root: Path, environment: str = "canary", /, **hosts: dict[str, Any]) -> Path:
    """Files of a project with one environment, its hosts by name; `here`, this machine, where none are given.

    What would be on hosts is in `root/hosts/NAME`.
    """
    (root / "canaryctl.yml").touch()
    (root / "stack.yml").write_text(STACK)
    (root / "compose.yml").write_text('services: {web: {image: "{{ images.web }}"}}\n')
    (root / "probes.yml").write_text(
        '- {name: Up, kind: http, on: all, url: "http://{{ address }}/", expect: {status: 200}}\n'
    )
    inventory = root / "inventories" / environment / "hosts.yml"
    inventory.parent.mkdir(parents=True)
    variables = {}
    for name, own in (hosts or {"here": {}}).items():
        here = {"ansible_connection": "local", "canary_root": f"{root}/hosts/{name}"}
        variables[name] = own if "ansible_host" in own else here | own
    inventory.write_text(json.dumps({"all": {"hosts": variables}}))
    return root
