"""The host keys pinned for an environment: `inventories/ENV/known_hosts`, known to both halves beside the user's own.

Both halves learn of it in the same way, as a variable of each host: an ssh argument that our own connections resolve
with `ssh -G` and that Ansible hands to ssh.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "known_hosts"
_USUAL = "-C -o ControlMaster=auto -o ControlPersist=60s"  # Ansible's own ssh_args
_NO_INVENTORIES = ("known_hosts", "allowed_signers", "revoked_signers")  # files of ours in an inventory's directory
_SYSTEM = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"  # what OpenSSH reads where nothing is said
# In the order in which Ansible gives them to ssh, which takes the first of several.
_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
# The only extra variables that are templates, every word of them ours: see `pin_variables`.
TEMPLATES = frozenset(_ARGUMENTS)
_GIVEN = re.compile(r"GlobalKnownHostsFile\s*[= ]\s*(.+)", re.IGNORECASE)

# Nothing of this machine is lent to a host: given first, so that ssh takes these whatever is said later.
NOTHING_LENT = "-o ForwardAgent=no -o ForwardX11=no -o ClearAllForwardings=yes -o PermitLocalCommand=no"
# A host from which nothing is heard any more is given up after 25 s; left out where the user's arguments say otherwise.
KEEPALIVES = "-o ServerAliveInterval=5 -o ServerAliveCountMax=4"
_KEPT_ALIVE = re.compile(r"ServerAlive(Interval|CountMax)", re.IGNORECASE)


def pins_of(directory: Path) -> Path:
    """The file of an environment; it need not exist."""
    return directory.absolute() / NAME


def with_pins(variables: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """A host's variables with the environment's pins as one more known_hosts file, where there are any.

    Its own ansible_ssh_args, which take the place of ours, begin with what keeps agent and displays here, and end with
    what notices that a host is silent.
    """
    found, pins = dict(variables), pins_of(directory)
    own = [str(found.get(name) or "") for name in _ARGUMENTS]
    if own[0]:
        found[_ARGUMENTS[0]] = _surrounded(own[0], *own[1:])
    elif any(map(_KEPT_ALIVE.search, own)):  # given behind ours to ssh, which takes the first it is told
        found[_ARGUMENTS[0]] = ssh_args(*own)
    if not pins.is_file():
        return found
    named = ((name, _given(str(found.get(name) or ""))) for name in _ARGUMENTS)
    name, files = next(((name, files) for name, files in named if files), (_ARGUMENTS[-1], _SYSTEM))
    argument = shlex.join(["-o", f'GlobalKnownHostsFile={files} "{pins}"'])
    found[name] = f"{argument} {found.get(name) or ''}".strip()
    return found


def _given(arguments: str) -> str:
    """The files that ssh arguments name themselves, '' where they name none."""
    try:
        words = shlex.split(arguments)
    except ValueError:
        return ""  # said where the arguments are used
    options = [word.removeprefix("-o") for word in words]
    return next((match[1].strip() for option in options if (match := _GIVEN.fullmatch(option.strip()))), "")


def pin_variables(hosts: Mapping[str, Mapping[str, Any]], directory: Path) -> dict[str, Any]:
    """Variables for Ansible that make it use the pins and lend nothing: those of each host win over the inventory's.

    Args:
        hosts: the variables of every host, as `with_pins` left them.
    """
    marks = (str(pins_of(directory)), NOTHING_LENT)
    usual = {_ARGUMENTS[0]: ssh_args()}
    changed = {
        name: {host: str(variables.get(name) or usual.get(name, "")) for host, variables in hosts.items()}
        for name in _ARGUMENTS
        if any(mark in str(variables.get(name) or "") for variables in hosts.values() for mark in marks)
    }
    if not changed:
        return {}
    chosen = {name: f"{{{{ canary_ssh_arguments.{name}[inventory_hostname] | default('') }}}}" for name in changed}
    return {"canary_ssh_arguments": changed, **chosen}


def ssh_args(*more: str) -> str:
    """Ansible's ssh_args where an inventory has none: the user's, else Ansible's own, after what lends nothing.

    Args:
        more: arguments that ssh gets behind these.
    """
    given = _setting("ANSIBLE_SSH_ARGS", "ssh_args")
    common = [os.environ.get(name, "") for name in ("ANSIBLE_SSH_COMMON_ARGS", "ANSIBLE_SSH_EXTRA_ARGS")]
    return _surrounded(_USUAL if given is None else given, *common, *more)


def ssh_program() -> str:
    """The ssh that Ansible is to call where an inventory says nothing of it: the user's, else the one on the path."""
    return _setting("ANSIBLE_SSH_EXECUTABLE", "ssh_executable") or "ssh"


def _setting(variable: str, key: str) -> str | None:
    """What the user has for Ansible's ssh, in the environment or a configuration; None for nothing."""
    given = os.environ.get(variable)
    if given is not None:
        return given
    configuration = configparser.ConfigParser(interpolation=None, strict=False)
    with contextlib.suppress(OSError, UnicodeError, configparser.Error):
        configuration.read([os.environ.get("ANSIBLE_CONFIG") or user_configuration() or ""])
    return configuration.get("ssh_connection", key, fallback=None)


def _surrounded(given: str, *more: str) -> str:
    """ssh_args between what lends nothing and keepalives; without these where the arguments, or `more`, have some."""
    kept_alive = any(map(_KEPT_ALIVE.search, (given, *more)))
    return f"{NOTHING_LENT} {given}" + ("" if kept_alive else f" {KEEPALIVES}")


def user_configuration() -> Path | None:
    """The user's or the system's ansible.cfg; never the working directory's, where somebody else's may lie."""
    places = (Path.home() / ".ansible.cfg", Path("/etc/ansible/ansible.cfg"))
    return next((path for path in places if path.is_file()), None)


def ignore_in_inventories() -> None:
    """Keep Ansible, in this process, from reading the pins and the lists of signers as inventories."""
    from ansible.inventory import manager

    if not all(manager.IGNORED.search(name.encode()) for name in _NO_INVENTORIES):
        manager.IGNORED = re.compile(manager.IGNORED.pattern + b"|" + _pattern().encode())


def ignored_patterns() -> str:
    """The same for Ansible in a process of its own: a value of ANSIBLE_INVENTORY_IGNORE_REGEX, the user's included."""
    from ansible import constants

    return ",".join([*constants.INVENTORY_IGNORE_PATTERNS, _pattern()])


def _pattern() -> str:
    return f"^({'|'.join(_NO_INVENTORIES)})$"
