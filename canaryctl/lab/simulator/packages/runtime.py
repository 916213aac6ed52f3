"""nvidia-container-runtime, simulated: gives the container what it asks for, then is runc."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import devices


def bundle(argv: list[str]) -> Path | None:
    """The bundle of a `create` or `run`; None for every other command."""
    if not {"create", "run"} & set(argv):
        return None
    return Path(option(argv, "--bundle", "-b") or Path.cwd())


def option(argv: list[str], *names: str) -> str | None:
    """An option's value, as `--name VALUE` or `--name=VALUE`."""
    for place, word in enumerate(argv):
        if word in names:
            return argv[place + 1]
        if word.partition("=")[0] in names:
            return word.partition("=")[2]
    return None


def complain(argv: list[str], text: str) -> None:
    """Say why on standard error and in the log that containerd reads."""
    sys.stderr.write(f"{text}\n")
    if log := option(argv, "--log"):
        with Path(log).open("a") as out:
            out.write(json.dumps({"level": "error", "msg": text}) + "\n")


def node(path: Path) -> dict[str, Any]:
    """An OCI device like the host's own."""
    found = path.stat().st_rdev
    return {"path": str(path), "type": "c", "major": os.major(found), "minor": os.minor(found), "fileMode": 0o666}


def inject(spec: dict[str, Any]) -> None:
    """Add the GPUs that the container's environment asks for to its specification."""
    environment = spec["process"].setdefault("env", [])
    indices, utility = devices.wanted(environment)
    if not indices:
        return
    environment.append(devices.MARK)
    spec.setdefault("mounts", []).extend(devices.bind(path) for path in devices.mounts(utility))
    linux = spec.setdefault("linux", {})
    rules = linux.setdefault("resources", {}).setdefault("devices", [])
    for path in devices.nodes(indices):
        if path.exists() and stat.S_ISCHR(path.stat().st_mode):
            made = node(path)
            linux.setdefault("devices", []).append(made)
            rules.append({"allow": True, "type": "c", "major": made["major"], "minor": made["minor"], "access": "rwm"})


def main() -> int:
    """Returns an exit code only where there is no GPU to give: else runc takes over."""
    argv = sys.argv[1:]
    where = bundle(argv)
    if where is not None:
        file = where / "config.json"
        spec = json.loads(file.read_text())
        try:
            inject(spec)
        except devices.UnavailableError as refused:
            complain(argv, f"nvidia-container-cli: initialization error: {refused}: unknown (simulator)")
            return 1
        file.write_text(json.dumps(spec))
    os.execvp("runc", ["runc", *argv])  # noqa: S606


sys.exit(main())
