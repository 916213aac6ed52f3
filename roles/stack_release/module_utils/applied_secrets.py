"""Which secrets the services were last brought up with. Python 3.8, standard library."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from ansible.module_utils.atomic import write_atomic
from ansible.module_utils.envfile import line_macs


def remember_secrets(env_file: str) -> None:
    """Note each line of the env file beside it as a keyed digest, so that a later plan sees what changed since.

    A deploy that is cut off between writing the secrets and starting the services is finished by the next one.
    """
    source = Path(env_file)
    if not env_file or not source.exists():
        return
    target = source.with_name("secrets.applied.json")
    content = source.read_bytes()
    before = noted(target)
    if before and before["macs"] == line_macs(before["key"], content):
        return
    key = secrets.token_hex(16)
    write_atomic(target, json.dumps({"key": key, "macs": line_macs(key, content)}).encode())


def noted(path: Path) -> dict | None:
    """What was noted before; None where there is nothing that can be read."""
    try:
        found = json.loads(path.read_text())
        return found if set(found) == {"key", "macs"} else None
    except (OSError, ValueError):
        return None
