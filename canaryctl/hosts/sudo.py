"""Commands that take root on hosts whose sudo asks for a password.

Everywhere a command that needs root begins with `sudo -n `, or is a script (`exec sh -c ...`) that has such commands in
it. Where there is a password to give, a connection hands it over as this module makes it; nothing else knows of
passwords.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable

from canaryctl.config.environment import Host

PREFIX = "sudo -n "
SCRIPT = "exec sh -c "
# The password is the first line of standard input, which is the command's from there on. It is tried alone first: where
# sudo asks for none, or has it wrong, it must not become input of the command.
_SCRIPT = (
    'IFS= read -r pw; if sudo -n true </dev/null 2>/dev/null; then exec sudo -n "$@"; fi; '
    'printf "%s\\n" "$pw" | sudo -k -S -p "" true || exit 1; '
    '{ printf "%s\\n" "$pw"; exec cat; } | sudo -k -S -p "" "$@"'
)


def as_root(command: str, sudo: bool = True) -> str:
    """A line for a shell that begins with a program: with root's rights where `sudo` says they must be asked for."""
    return f"{PREFIX}{command}" if sudo else command


def password_of(host: Host, given: str | None) -> str:
    """The password for sudo on a host: the operator's, else the inventory's, else ''."""
    return given or str(host.vars.get("ansible_become_password") or host.vars.get("ansible_become_pass") or "")


def with_password(command: str, chunks: Iterable[bytes], password: str) -> tuple[str, Iterable[bytes]]:
    """A command and its standard input, so that sudo gets its password where the command needs root.

    The password is in no argument. What follows the command in a shell's line (`2>&1`, `| head`) stays as it is. A
    script runs as root as a whole, since its commands share one standard input; the sudo in it then asks for nothing.
    """
    if password and command.startswith(SCRIPT) and PREFIX in command:
        command = PREFIX + command.removeprefix("exec ")
    if not password or not command.startswith(PREFIX):
        return command, chunks
    asking = f"sh -c {shlex.quote(_SCRIPT)} sh {command.removeprefix(PREFIX)}"
    return asking, itertools.chain([f"{password}\n".encode()], chunks)
