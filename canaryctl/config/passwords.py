"""The passwords that an inventory or the operator gives for connections: what no evidence may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping

from canaryctl.config.environment import Host

_NAMES = re.compile(r"ansible_(?:\w+_)?(?:pass|password|passwd|passphrase)")


def connection_passwords(hosts: Mapping[str, Host], become_password: str | None = None) -> dict[str, str]:
    """Each value under words that say what it is; one that several hosts share is there once.

    Args:
        become_password: what the operator typed for --ask-become-pass.
    """
    found: dict[str, str] = {}
    if become_password:
        found[become_password] = "become password"
    for host in hosts.values():
        for name, value in host.vars.items():
            if _NAMES.fullmatch(name) and value not in (None, ""):
                found.setdefault(str(value), f"{name} of {host.name}")
    return {words: value for value, words in found.items()}
