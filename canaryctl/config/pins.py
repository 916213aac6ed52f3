"""The host keys pinned for an environment: `inventories/ENV/known_hosts`, known to both halves beside the user's own.

Both halves learn of it in the same way, as a variable of each host: an ssh argument that our own connections resolve
with `ssh -G` and that Ansible hands to ssh.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "known_hosts"
_SYSTEM = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"  # what OpenSSH reads where nothing is said
# In the order in which Ansible gives them to ssh, which takes the first of several.
_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
# The only extra variables that are templates, every word of them ours: see `pin_variables`.
TEMPLATES = frozenset(_ARGUMENTS)
_GIVEN = re.compile(r"GlobalKnownHostsFile\s*[= ]\s*(.+)", re.IGNORECASE)


def pins_of(directory: Path) -> Path:
    """The file of an environment; it need not exist."""
    return directory.absolute() / NAME


def with_pins(variables: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """A host's variables with the environment's pins as one more known_hosts file, where there are any."""
    found, pins = dict(variables), pins_of(directory)
    if not pins.is_file():
        return found
    said = ((name, _given(str(found.get(name) or ""))) for name in _ARGUMENTS)
    name, files = next(((name, files) for name, files in said if files), (_ARGUMENTS[-1], _SYSTEM))
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
    """Variables for Ansible that make it use the pins: those of each host win over the inventory's.

    Args:
        hosts: the variables of every host, as `with_pins` left them.
    """
    mark = str(pins_of(directory))
    changed = {
        name: {host: str(variables.get(name) or "") for host, variables in hosts.items()}
        for name in _ARGUMENTS
        if any(mark in str(variables.get(name) or "") for variables in hosts.values())
    }
    if not changed:
        return {}
    chosen = {name: f"{{{{ canary_ssh_arguments.{name}[inventory_hostname] | default('') }}}}" for name in changed}
    return {"canary_ssh_arguments": changed, **chosen}


def ignore_in_inventories() -> None:
    """Keep Ansible, in this process, from reading the pins as an inventory."""
    from ansible.inventory import manager

    if not manager.IGNORED.search(NAME.encode()):
        manager.IGNORED = re.compile(manager.IGNORED.pattern + b"|" + _pattern().encode())


def ignored_patterns() -> str:
    """The same for Ansible in a process of its own: a value of ANSIBLE_INVENTORY_IGNORE_REGEX, the user's included."""
    from ansible import constants

    return ",".join([*constants.INVENTORY_IGNORE_PATTERNS, _pattern()])


def _pattern() -> str:
    return f"^{NAME}$"
