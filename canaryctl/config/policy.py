"""An environment's policy: its `canary_*` variables, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from canaryctl.config.durations import parse_duration
from canaryctl.config.environment import Environment, Host
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError

_CHOICES = {
    "canary_provision": ("auto", "check", "never"),
    "canary_on_failure": ("rollback", "keep", "down"),
    "canary_delivery": ("auto", "push", "pull"),
}


@dataclass(frozen=True)
class Policy:
    """What may be done to the hosts and what happens when it goes wrong.

    `provision`: `auto` installs what a host lacks, `check` reports it as an error, `never` does not look.
    `on_failure`: what follows a failed apply or verdict.
    `delivery`: `push` sends every image from the operator's machine, `pull` has hosts pull every image from its
        registry, `auto` pulls published images and pushes the others.
    `probe_deadline`: seconds for all probes together.
    """

    provision: str = "check"
    on_failure: str = "rollback"
    delivery: str = "auto"
    probe_deadline: float = 600.0


def load_policies(environment: Environment) -> dict[str, Policy]:
    """Read and check the policy of every host.

    Raises:
        ConfigError: a variable has a value it may not have.
    """
    return {name: _policy(host, shown(environment.directory)) for name, host in environment.hosts.items()}


def _policy(host: Host, where: str) -> Policy:
    values: dict[str, Any] = {}
    for variable, choices in _CHOICES.items():
        value = host.vars.get(variable)
        if value is None:
            continue
        if value not in choices:
            raise ConfigError(f"{variable} of {host.name} is '{value}'", where, f"one of: {', '.join(choices)}")
        values[variable.removeprefix("canary_")] = value
    deadline = host.vars.get("canary_probe_deadline")
    if deadline is not None:
        try:
            values["probe_deadline"] = parse_duration(deadline)
        except ValueError as error:
            raise ConfigError(f"canary_probe_deadline of {host.name}: {error}", where, "for example 10m") from None
    return Policy(**values)
