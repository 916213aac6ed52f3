"""`canary_evidence_group`: the group that may read the evidence of an environment's runs besides its owner."""

from __future__ import annotations

import grp

from canaryctl.config.environment import Environment
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError

NAME = "canary_evidence_group"
_MOST = 2**32 - 2


def evidence_group(environment: Environment) -> int | None:
    """The gid of the group that an environment names (by name or number); None where evidence is its owner's alone.

    Raises:
        ConfigError: there is no such group on this machine, or hosts differ in it.
    """
    where = shown(environment.directory)
    given = [host.vars.get(NAME) for host in environment.hosts.values()]
    if any(value != given[0] for value in given):
        raise ConfigError(f"the hosts of {environment.name} differ in {NAME}", where, "set it for all of them or none")
    wanted = given[0] if given else None
    if wanted is None or wanted == "":
        return None
    if isinstance(wanted, bool) or not isinstance(wanted, (str, int)):
        raise ConfigError(f"{NAME} is no group", where, f"for example {NAME}: operators, or a number")
    try:
        return grp.getgrnam(str(wanted)).gr_gid
    except (KeyError, ValueError):  # ValueError: NUL, or a lone surrogate
        pass
    text = str(wanted)
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MOST:
        return int(text)
    raise ConfigError(
        f"there is no group {text!r} on this machine ({NAME})", where, "`getent group` lists those there are"
    )
