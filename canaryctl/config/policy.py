"""An environment's policy: its `canary_*` variables, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from canaryctl.config.environment import Environment
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError

_CHOICES = {
    "canary_provision": ("auto", "check", "never"),
    "canary_on_failure": ("rollback", "keep", "down"),
}


@dataclass(frozen=True)
class Policy:
    """What may be done to the hosts and what happens when it goes wrong.

    `provision`: `auto` installs what a host lacks, `check` reports it as an error, `never` does not look.
    `on_failure`: what follows a failed apply or verdict.
    `probe_deadline`: seconds for all probes together.
    """

    provision: str = "check"
    on_failure: str = "rollback"
    probe_deadline: float = 600.0


def load_policy(environment: Environment) -> Policy:
    """Read and check the policy.

    Raises:
        ConfigError: a variable has a value it may not have.
    """
    values: dict[str, Any] = {}
    for variable, choices in _CHOICES.items():
        for host in environment.hosts.values():
            value = host.vars.get(variable)
            if value is not None and value not in choices:
                raise ConfigError(
                    f"{variable} is '{value}'", shown(environment.directory), f"it is one of: {', '.join(choices)}"
                )
        if environment.vars.get(variable) is not None:
            values[variable.removeprefix("canary_")] = environment.vars[variable]
    deadline = environment.vars.get("canary_probe_deadline")
    if deadline is not None:
        if not isinstance(deadline, (int, float)) or isinstance(deadline, bool) or deadline <= 0:
            raise ConfigError(
                f"canary_probe_deadline is '{deadline}'", shown(environment.directory), "give seconds, above 0"
            )
        values["probe_deadline"] = float(deadline)
    return Policy(**values)
