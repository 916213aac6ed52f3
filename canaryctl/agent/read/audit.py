"""What an audit asks beyond the facts, in the same round trip: sshd, Docker's configuration, pending reboot."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shlex
import sys
from typing import Any, Callable, Iterator

from canaryctl.agent.read.docker import DockerError, open_docker
from canaryctl.agent.read.facts import observe_host
from canaryctl.agent.read.leftovers import LEFT_AFTER, about_leftovers
from canaryctl.agent.read.loads import left_images, read_notes
from canaryctl.agent.read.processes import Program, find_program
from canaryctl.agent.read.regular import LARGEST_COMPOSE, read_below
from canaryctl.agent.read.system import read_text

DAEMON_FILE = "/etc/docker/daemon.json"
SSHD_FILE = "/etc/ssh/sshd_config"
SSHD_OPTIONS = ("passwordauthentication", "kbdinteractiveauthentication", "permitrootlogin")
REBOOT_FILE = "/run/reboot-required"
MODULE = "AnsiballZ_"  # in the path of every module that Ansible runs on a host


def audit_host(config: dict[str, Any], become: str, reason: str) -> dict[str, Any]:
    """What `observe_host` answers, and `audit`: what only audits ask for."""
    sshd, systemctl = find_program("sshd"), find_program("systemctl")
    asked_sshd = Program(sshd, "-T") if sshd else None
    asked_unit = Program(systemctl, "cat", "docker.service") if systemctl else None
    document = observe_host(config, become, reason)
    errors = document["errors"]
    root, stack = config["root"], config["stack"]
    base = os.path.join(root, stack)

    def part(name: str, find: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return find()
        except FileNotFoundError:
            return otherwise
        except (OSError, ValueError) as error:
            errors["audit." + name] = str(error)
            return otherwise

    document["audit"] = {
        "sshd": part("sshd", lambda: about_sshd(asked_sshd), {}),
        "daemon": part("daemon", lambda: about_daemon(asked_unit), {}),
        "reboot": part("reboot", about_reboot, None),
        "compose": part("compose", lambda: about_compose(base), ""),
        "leftovers": part("leftovers", lambda: [*about_leftovers(root, stack), *left_running()], [])
        + part("images", lambda: about_left_images(root), []),
    }
    return document


def about_sshd(asked: Any) -> dict[str, str]:
    """The options in effect, as sshd itself says; without root, as its files say."""
    if asked is None:
        return {}
    try:
        return parse_sshd(asked.answer(5))
    except OSError:
        return sshd_files(SSHD_FILE)


def parse_sshd(output: str) -> dict[str, str]:
    """Settings that `sshd -T` tells, by name in small letters; those of SSHD_OPTIONS alone."""
    found: dict[str, str] = {}
    for line in output.splitlines():
        words = line.replace("=", " ", 1).split(None, 1)
        if len(words) == 2 and words[0].lower() in SSHD_OPTIONS:
            found.setdefault(words[0].lower(), words[1].strip().lower())
    return found


def sshd_files(path: str) -> dict[str, str]:
    """The first value of each option counts; what stands under Match is left out."""
    found: dict[str, str] = {}
    for line in read_text(path).splitlines():
        words = line.split("#")[0].split(None, 1)
        if len(words) != 2:
            continue
        if words[0].lower() == "match":
            break
        if words[0].lower() == "include":
            for pattern in words[1].split():
                for file in sorted(glob.glob(os.path.join("/etc/ssh", pattern))):
                    found = dict(sshd_files(file), **found)
        else:
            found = dict(parse_sshd(line), **found)
    return found


def about_daemon(asked_unit: Any) -> dict[str, Any]:
    """The names of Docker's options, by where they are set; values may hold credentials and stay on the host."""
    flags = unit_flags(asked_unit)
    path = next((value for name, value in flags if name == "config-file"), "") or DAEMON_FILE
    found = {"path": path, "keys": [], "flags": sorted({name for name, _ in flags}), "error": ""}
    if os.path.exists(path):
        try:
            content = json.loads(read_text(path) or "{}")
            if not isinstance(content, dict):
                raise ValueError("it holds no JSON object")
            found["keys"] = sorted(content)
        except ValueError as error:
            found["error"] = str(error)
    return found


def unit_flags(asked_unit: Any) -> list[tuple[str, str]]:
    """dockerd's command line options as systemd would start it, drop-ins included."""
    try:
        unit = asked_unit.answer(5) if asked_unit else ""
    except OSError:
        return []
    command = ""
    for line in unit.replace("\\\n", " ").splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip() == "ExecStart":
            command = value.strip()  # an empty one takes back what was set before
    return parse_flags(command)


def parse_flags(command: str) -> list[tuple[str, str]]:
    words = shlex.split(command)[1:]
    found = []
    for position, word in enumerate(words):
        match = re.match(r"--?([A-Za-z][\w-]*)(?:=(.*))?$", word)
        if match:
            after = words[position + 1] if position + 1 < len(words) else ""
            value = match.group(2) if match.group(2) is not None else "" if after.startswith("-") else after
            found.append((match.group(1), value))
    return found


def about_reboot() -> dict[str, Any] | None:
    if not os.path.exists(REBOOT_FILE):
        return None
    packages = REBOOT_FILE + ".pkgs"
    return {"packages": sorted(set(read_text(packages).split())) if os.path.exists(packages) else []}


def about_left_images(root: str) -> list[dict[str, Any]]:
    """Images without a tag that a killed program of ours had loaded. Raises OSError."""
    try:
        daemon = open_docker() if read_notes(root) else None
        return left_images(daemon, root) if daemon else []
    except DockerError as error:
        raise OSError(str(error)) from None


def left_running() -> Iterator[dict[str, Any]]:
    """Programs that Ansible started here, and how long ago."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        up = float(read_text("/proc/uptime").split()[0])
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                words = read_text(f"/proc/{name}/cmdline").replace("\0", " ").strip()
                if MODULE not in words:
                    continue
                began = int(read_text(f"/proc/{name}/stat").rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
                if up - began > LEFT_AFTER:
                    yield {"path": f"process {name} ({words[:100]})", "age": round(up - began)}


def about_compose(base: str) -> str:
    """The served release's file; a service that may write into the release has not made it a link to another."""
    return read_below(base + "/releases", "../current/compose.yml", LARGEST_COMPOSE).decode("utf-8", "replace")


def answer_audit(config: dict[str, Any]) -> None:
    """The facts and what audits need beside them, as one line of JSON."""
    sys.stdout.write("\n" + json.dumps(audit_host(config, sys.argv[1], sys.argv[2])) + "\n")
