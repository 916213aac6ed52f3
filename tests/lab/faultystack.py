"""A stack whose backend shows any fault on demand, beside a real database: deployed once, probed by many files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from conftest import Result
from toy import Toy

IMAGE = "canaryctl-test-faulty:test"
SECRETS = {"API_TOKEN": "token-5f2c9e71ab", "DB_PASSWORD": "password-83cc0d14fe"}
STACK = f"""\
stack: {{name}}
images: {{{{web: {{{{tag: "{IMAGE}"}}}}, db: {{{{tag: "ktrdr-db:test"}}}}}}}}
variants: {{{{only: {{{{web: web, frail: web, db: db}}}}}}}}
placement: {{{{all: [web, frail, db]}}}}
compose: compose.yml.j2
secrets: [API_TOKEN, DB_PASSWORD]
start_timeout: 60
"""
COMPOSE = """\
services:
{{% for service, port in [('web', {port}), ('frail', {port} + 1)] %}}
  {{{{ service }}}}:
    image: "{{{{ images[service] }}}}"
    pull_policy: never
    restart: "{{{{ 'always' if service == 'web' else 'no' }}}}"
    stop_grace_period: 1s
    mem_limit: {{{{ '512m' if service == 'web' else '64m' }}}}
    environment: {{API_TOKEN: "${{API_TOKEN:?}}", RELEASE: good}}
    ports: ["{{{{ address }}}}:{{{{ port }}}}:8000"]
    healthcheck:
      test: [CMD, python3, -m, ktrdr.healthcheck, "8000", /health]
      interval: {{{{ '30s' if service == 'web' else '2s' }}}}
      timeout: 3s
      retries: 2
      start_period: 20s
      start_interval: 300ms
{{% endfor %}}
  db:
    image: "{{{{ images.db }}}}"
    pull_policy: never
    environment: {{DB_PASSWORD: "${{DB_PASSWORD:?}}"}}
    healthcheck: {{test: [CMD, pg_isready, --host=127.0.0.1], interval: 30s, start_period: 30s, start_interval: 500ms}}
"""


def build() -> None:
    """The overlay on the example's backend."""
    folder = Path(__file__).with_name("faulty")
    argv = ["docker", "build", "-q", "-t", IMAGE, str(folder)]
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "DOCKER_BUILDKIT": "0"})


def remove() -> None:
    """Take the overlay away again."""
    subprocess.run(["docker", "rmi", IMAGE], capture_output=True)


def write(toy: Toy) -> None:
    """Make a toy this stack, with an environment `one` on canary-1."""
    toy.write("stack.yml", STACK.format(name=toy.name))
    toy.write("compose.yml.j2", COMPOSE.format(port=toy.port))
    toy.environment("one", "canary-1", variables={"all": {"canary_secrets": SECRETS}})


def probe(toy: Toy, probes: str, *more: str) -> Result:
    """`canaryctl probe one` with a probe file of its own; `URL` in it is the backend's."""
    toy.write("asked.yml", probes.replace("URL", f"http://{{{{ address }}}}:{toy.port}"))
    return toy.run("probe", "one", "--probes", "asked.yml", "--output", "json", *more, timeout=120)


def rows(done: Result) -> dict[str, dict[str, Any]]:
    """The rows by their names."""
    return {row["name"]: row for row in done.document["probes"]}


def evidence_text(toy: Toy, done: Result) -> str:
    """All that a run left, as text, with what it printed."""
    directory = toy.folder / done.document["directory"]
    files = [path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file()]
    return json.dumps(done.document) + done.err + "".join(files)
