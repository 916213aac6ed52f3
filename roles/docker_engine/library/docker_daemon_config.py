#!/usr/bin/python
"""Merge options into Docker's daemon.json, and take them back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.atomic import write_atomic
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.daemon_options import changes, flags, hidden, merge, parse, settle, undo

DOCUMENTATION = r"""
---
module: docker_daemon_config
short_description: Merge options into Docker's daemon.json, and take them back
description:
  - Keeps every option it was not told about. The result is validated by dockerd together with the flags that its
    service starts it with, the file that was there is kept beside it, and nothing is written where Docker would have to
    be restarted while containers of others run.
  - Remembers in I(record) what it changed for which owner. What an owner wanted before and wants no longer goes back to
    what it was, unless somebody has changed it since.
  - Reports a change until the restart that it asks for has happened; the next run makes an interrupted one good.
options:
  owner:
    description: In whose name; each owner's changes are remembered apart.
    type: str
    required: true
  options:
    description: Options to merge.
    type: dict
    default: {}
  editor:
    description: A command that edits the file itself, with {} in the place of its name; it is given a copy.
    type: list
    elements: str
    default: []
  restart:
    description: Docker has to be restarted, whatever the options.
    type: bool
    default: false
  restarted:
    description: Docker has been restarted; nothing else is done.
    type: bool
    default: false
  allow_restart:
    description: Restart Docker though containers of others run.
    type: bool
    default: false
  own_root:
    description: Containers of compose projects below this directory are no others.
    type: path
    default: /opt/canaryctl
  record:
    description: Where changes are remembered.
    type: path
    default: /var/lib/canaryctl/docker-daemon.json
author: canaryctl
"""

EXAMPLES = r"""
- name: Rotate logs
  docker_daemon_config:
    owner: docker_engine
    options: {log-driver: local}
  notify: Restart Docker
"""

RETURN = r"""
file:
  description: The daemon's configuration file.
  returned: always
  type: str
backup:
  description: Copy of the file as it was.
  returned: when an existing file was changed
  type: str
"""

USUAL = "/etc/docker/daemon.json"
SILENT = 124  # no answer in time


class RefusedError(Exception):
    """Nothing was changed; the words say why and what to do."""


def run(argv: list[str], seconds: int = 30) -> subprocess.CompletedProcess[str]:
    """What a command says, with its standard error; code 124 where it takes longer, 127 where it cannot be run."""
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(argv, SILENT, str(error), "")
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, str(error), "")


def service_flags() -> tuple[list[str], str]:
    """The flags that systemd starts dockerd with, and the configuration file they name."""
    asked = ("ExecStart", "Environment", "EnvironmentFiles")
    shown = run(["systemctl", "show", "docker.service", *(f"--property={name}" for name in asked)])
    properties = dict(line.partition("=")[::2] for line in shown.stdout.splitlines() if "=" in line)
    found = re.search(r"argv\[\]=(.*?) ; ", properties.get("ExecStart", ""))
    if not found:
        return [], ""
    variables = dict(word.partition("=")[::2] for word in shlex.split(properties.get("Environment", "")))
    for file in re.findall(r"(\S+) \(ignore_errors", properties.get("EnvironmentFiles", "")):
        variables.update(assignments(Path(file)))
    line = re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match.group(1), ""), found.group(1))
    return flags(shlex.split(line)[1:])


def assignments(file: Path) -> dict[str, str]:
    """What an environment file of systemd's sets."""
    if not file.exists():
        return {}
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("=")[::2] for line in lines if "=" in line and not line.startswith("#")]
    return {name: " ".join(shlex.split(value)) for name, value in pairs}


class Daemon:
    """The host's dockerd and its configuration file."""

    def __init__(self) -> None:
        self.program = shutil.which("dockerd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        self.flags, named = service_flags() if self.program else ([], "")
        self.file = Path(named or USUAL)
        self.text = self.file.read_text(encoding="utf-8") if self.file.exists() else ""

    def options(self) -> dict:
        """Raises RefusedError where the file cannot be read as it is."""
        try:
            return parse(self.text)
        except ValueError as error:
            refusal = f"{self.file} cannot be used: {error}; dockerd would refuse it too: fix it by hand"
            raise RefusedError(refusal) from None

    def validate(self, text: str) -> None:
        """Raises RefusedError where dockerd, with the flags of its service, would not start with this configuration."""
        if not self.program:
            return
        with copied(text) as copy:
            done = run([self.program, *self.flags, "--validate", "--config-file", str(copy)])
        if done.returncode == 0:
            return
        complaint = done.stdout.strip().replace(str(copy), str(self.file))
        if "both as a flag and in the configuration file" in complaint:
            given = " ".join(hidden(flag) for flag in self.flags)
            complaint += (
                f"; dockerd gets these flags from its service: {given} (see: systemctl cat docker);"
                " say each option in one place"
            )
        raise RefusedError(f"dockerd would not start with the new {self.file}: {complaint}")

    def others(self, own_root: str) -> list[str]:
        """Running containers that a restart would stop and that are not ours.

        Raises RefusedError where Docker hangs: what it runs is not known, then.
        """
        live = run(["docker", "info", "--format", "{{.LiveRestoreEnabled}}"])
        if live.returncode == SILENT:
            raise RefusedError(
                "Docker does not answer, so whose containers a restart would stop is not known: see journalctl -u"
                " docker, and run systemctl restart docker; or allow it with --allow-docker-restart"
            )
        if live.returncode != 0 or live.stdout.strip() == "true":
            return []
        form = '{{.Names}}\t{{.Label "com.docker.compose.project.config_files"}}'
        listed = [line.partition("\t")[::2] for line in run(["docker", "ps", "--format", form]).stdout.splitlines()]
        return [name for name, files in listed if name and not files.startswith(own_root.rstrip("/") + "/")]

    def replace(self, text: str) -> str:
        """Write the file anew; returns where the old one is kept, or nothing where there was none."""
        if not self.text:
            write(self.file, text, 0o644)
            return ""
        backup = self.file.with_name(f"{self.file.name}.{time.strftime('%Y%m%dT%H%M%S')}.bak")
        shutil.copy2(self.file, backup)
        write(self.file, text, self.file.stat().st_mode & 0o777)
        return str(backup)


@contextlib.contextmanager
def copied(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "daemon.json"
        copy.write_text(text, encoding="utf-8")
        yield copy


def edited(text: str, argv: list[str]) -> str:
    """The text after a command has edited a copy of it."""
    with copied(text) as copy:
        done = run([str(copy) if word == "{}" else word for word in argv])
        if done.returncode != 0:
            raise RefusedError(f"{' '.join(argv[:2])} failed: {done.stdout.strip()[-1500:]}")
        return copy.read_text(encoding="utf-8")


def shown(options: dict) -> str:
    return json.dumps(options, indent=4) + "\n"


def read_record(file: Path) -> dict:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write(file: Path, text: str, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, text.encode(), mode)


def remember(file: Path, record: dict, fresh: dict) -> None:
    """Write the record where it says something new; a host with nothing of ours gets no file."""
    if fresh["owners"] or fresh["restart"]:
        if fresh != record:
            write(file, shown(fresh), 0o600)  # it holds what daemon.json held, which may be its owner's alone
    elif file.exists():
        file.unlink()


def apply(module: AnsibleModule, daemon: Daemon) -> dict:
    """Make the file what it should be, or raise RefusedError with nothing changed."""
    wanted, place = module.params, Path(module.params["record"])
    record = read_record(place)
    owners = dict(record.get("owners", {}))
    current = daemon.options()
    base = undo(current, owners.get(wanted["owner"], []))
    target = merge(base, wanted["options"])
    editor = wanted["editor"]
    if editor and (shutil.which(editor[0]) or not module.check_mode):
        target = settle(current, parse(edited(shown(target), editor)))
    differs = target != current
    changed = differs or wanted["restart"] or bool(record.get("restart"))
    result = {"changed": changed, "file": str(daemon.file)}
    if differs and module._diff:
        result["diff"] = difference(daemon.file, current, target)
    if differs:
        daemon.validate(shown(target))
    if changed and not wanted["allow_restart"]:
        refuse_for(daemon.others(wanted["own_root"]))
    if module.check_mode:
        return result
    owners[wanted["owner"]] = changes(base, target)
    created = record.get("created", not daemon.text)
    kept = {name: made for name, made in owners.items() if made}
    if differs and not target and created:
        daemon.file.unlink()
    elif differs and (backup := daemon.replace(shown(target))):
        result["backup"] = backup
    remember(place, record, {"owners": kept, "created": created, "restart": changed})
    return result


def refuse_for(others: list[str]) -> None:
    """Raises RefusedError where a restart of Docker would stop somebody's containers."""
    if others:
        raise RefusedError(
            f"Docker has to be restarted, which would stop containers that are not ours: {', '.join(others[:8])};"
            " stop them, or allow it with --allow-docker-restart (canary_allow_docker_restart: true),"
            " or have the host's owner turn on live-restore"
        )


def difference(file: Path, current: dict, target: dict) -> dict:
    """What --diff shows; it is kept in places where the host's secrets do not belong."""
    texts = {"before": shown(hidden(current)) if current else "", "after": shown(hidden(target))}
    return {**texts, "before_header": str(file), "after_header": str(file)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "owner": {"type": "str", "required": True},
            "options": {"type": "dict", "default": {}},
            "editor": {"type": "list", "elements": "str", "default": []},
            "restart": {"type": "bool", "default": False},
            "restarted": {"type": "bool", "default": False},
            "allow_restart": {"type": "bool", "default": False},
            "own_root": {"type": "path", "default": "/opt/canaryctl"},
            "record": {"type": "path", "default": "/var/lib/canaryctl/docker-daemon.json"},
        },
        supports_check_mode=True,
    )
    if module.params["restarted"]:
        place = Path(module.params["record"])
        record = read_record(place)
        remember(place, record, {"owners": {}, "created": False, **record, "restart": False})
        module.exit_json(changed=False)
    try:
        result = apply(module, Daemon())
    except (RefusedError, ValueError) as refused:
        module.params["options"] = hidden(module.params["options"])
        module.fail_json(msg=str(refused))
    module.params["options"] = hidden(module.params["options"])  # Ansible returns the arguments with the result
    module.exit_json(**result)


if __name__ == "__main__":
    main()
