"""How many hosts start at a time, and how many of them may fail: `canary_serial`, `canary_max_fail_percentage`."""

from __future__ import annotations

import re
from typing import Any

from canaryctl.config.environment import Host
from canaryctl.errors import ConfigError

_PERCENT = re.compile(r"(\d{1,3})%")


def read_waves(host: Host, where: str) -> dict[str, Any]:
    """The policy's `serial` and `max_fail_percentage`, as far as the environment sets them.

    Raises:
        ConfigError: a value that Ansible's keywords of the same names would not take either.
    """
    values: dict[str, Any] = {}
    if (serial := host.vars.get("canary_serial")) is not None:
        entries = serial if isinstance(serial, (list, tuple)) else [serial]
        sizes = tuple(_size(entry) for entry in entries)
        if not sizes or None in sizes:
            raise ConfigError(
                f"canary_serial of {host.name} is '{serial}'",
                where,
                'write a number of hosts (1), a share of them ("25%"), or a list of such ([1, "50%", "100%"])',
            )
        values["serial"] = sizes
    if (most := host.vars.get("canary_max_fail_percentage")) is not None:
        if isinstance(most, bool) or not isinstance(most, (int, float)) or not 0 <= most <= 100:
            raise ConfigError(
                f"canary_max_fail_percentage of {host.name} is '{most}'", where, "write a number from 0 to 100"
            )
        values["max_fail_percentage"] = float(most)
    return values


def _size(entry: Any) -> int | str | None:
    """A number of hosts, or a share as `25%`; None for anything else. Ansible takes numbers written as text too."""
    if isinstance(entry, int) and not isinstance(entry, bool):
        return entry if entry > 0 else None
    text = str(entry).strip()
    if match := _PERCENT.fullmatch(text):
        return f"{int(match[1])}%" if 0 < int(match[1]) <= 100 else None
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None
