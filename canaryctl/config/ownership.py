"""Whose files are believed: a project's hooks, inventories and commands run as the operator."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError

_OTHERWISE = "or name what you trust yourself: --stack, --inventories and --runs together (without hooks)"


def require_own(path: Path) -> None:
    """Stop where a file or folder is another user's, or where everyone may write it. What is absent is nobody's.

    Own are the operator's, root's, and under sudo those of who called it. Folders shared with a group are for the team
    that shares it to judge.

    Raises:
        ConfigError: names the owner and what to do.
    """
    try:
        seen = path.stat()
    except OSError:
        return
    if seen.st_uid not in _trusted_users():
        raise ConfigError(
            f"it belongs to {_user(seen.st_uid)}, and what it says would run as {_user(os.geteuid())}",
            shown(path),
            f"if you trust it: chown -R {_user(os.geteuid())} {shown(path)}; {_OTHERWISE}",
        )
    if seen.st_mode & stat.S_IWOTH:
        # A folder that all share, as /tmp, is to stay so; a checkout without a umask has all its files like that.
        shared = seen.st_mode & stat.S_ISVTX
        remedy = "move the project into a folder of its own" if shared else f"chmod -R o-w {shown(path)}"
        raise ConfigError(
            f"every user may write it (it belongs to {_user(seen.st_uid)}), and what it says would run as you",
            shown(path),
            f"if nobody else wrote there: {remedy}; {_OTHERWISE}",
        )


def _trusted_users() -> set[int]:
    users = {0, os.geteuid()}
    caller = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and caller.isascii() and caller.isdigit():
        users.add(int(caller))
    return users


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
