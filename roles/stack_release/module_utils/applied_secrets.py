"""Which secrets the services were last brought up with. Python 3.8, standard library."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path


def remember_secrets(env_file: str) -> None:
    """Note each line of the env file beside it as a keyed digest, so that a later plan sees what changed since.

    A deploy that is cut off between writing the secrets and starting the services is finished by the next one.
    """
    source = Path(env_file)
    if not env_file or not source.exists():
        return
    target = source.with_name("secrets.applied.json")
    lines = source.read_bytes().split(b"\n")
    before = noted(target)
    if before and before["macs"] == digests(before["key"], lines):
        return
    key = secrets.token_hex(16)
    partial = source.with_name(".secrets.applied.json.partial")
    if partial.exists():
        partial.unlink()
    with os.fdopen(os.open(str(partial), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump({"key": key, "macs": digests(key, lines)}, stream)
    partial.replace(target)


def noted(path: Path) -> dict | None:
    """What was noted before; None where there is nothing that can be read."""
    try:
        found = json.loads(path.read_text())
        return found if set(found) == {"key", "macs"} else None
    except (OSError, ValueError):
        return None


def digests(key: str, lines: list[bytes]) -> dict[str, str]:
    """The keyed digest of each line by the name that it gives a value."""
    return {
        line.split(b"=", 1)[0].decode("utf-8", "replace"): hmac.new(
            bytes.fromhex(key), line, hashlib.sha256
        ).hexdigest()
        for line in lines
        if b"=" in line
    }
