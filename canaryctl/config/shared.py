"""Variables with one value for the whole environment: hosts that differ in one are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from canaryctl.config.environment import Environment
from canaryctl.config.policy import Policy
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError

# The parts of a policy that each host has for itself. Their variables are listed in docs/environments.md.
PER_HOST = frozenset(
    (
        *("provision", "delivery", "metrics", "gpu_devices", "gpu_driver", "busy", "busy_wait"),
        *("disposable", "audit_ignore"),
    )
)
# Read of the environment as a whole, beside the policy. Values may be secret, and are not shown.
UNSHOWN = ("canary_secrets", "canary_webhook", "canary_registry_ca", "canary_evidence_group")


def require_one_policy(environment: Environment, policies: Mapping[str, Policy], placed: Collection[str]) -> None:
    """Check that hosts agree where only one of them could be obeyed.

    Args:
        policies: by host.
        placed: hosts with services: what the others say of a policy means nothing.

    Raises:
        ConfigError: names the variable, and the hosts with their values.
    """
    where = shown(environment.directory)
    for field in dataclasses.fields(Policy):
        if field.name in PER_HOST:
            continue
        values = {host: getattr(policies[host], field.name) for host in placed}
        _require_same(f"canary_{field.name}", values, where)
    for variable in UNSHOWN:
        _require_same(variable, {name: host.vars.get(variable) for name, host in environment.hosts.items()}, where)


def _require_same(variable: str, values: Mapping[str, Any], where: str) -> None:
    """`values` are by host."""
    hosts: list[tuple[Any, list[str]]] = []
    for host, value in values.items():
        same = next((names for known, names in hosts if known == value), None)
        if same is None:
            hosts.append((value, [host]))
        else:
            same.append(host)
    if len(hosts) < 2:
        return
    if variable in UNSHOWN:
        listed = "; ".join(
            f"one value on {', '.join(names)}" if value else f"none on {', '.join(names)}" for value, names in hosts
        )
    else:
        listed = "; ".join(f"{_word(value)} on {', '.join(names)}" for value, names in hosts)
    raise ConfigError(
        f"{variable} has one value for the whole environment, but hosts differ: {listed}",
        where,
        "set it for all of them, in group_vars/all; see docs/environments.md for what each host may have for itself",
    )


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value) or "none"
