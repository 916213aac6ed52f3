"""An environment's policy: its `canary_*` variables, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canaryctl.config.durations import parse_duration, show_duration
from canaryctl.config.environment import Environment, Host
from canaryctl.config.reference import REPOSITORY_START
from canaryctl.config.waves import read_waves
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError

if TYPE_CHECKING:  # the models take time to load, which environments without metrics need not spend
    from canaryctl.config.metrics import Metric

_CHOICES = {
    "canary_provision": ("auto", "check", "never"),
    "canary_on_failure": ("rollback", "keep", "down"),
    "canary_delivery": ("auto", "push", "pull"),
    "canary_inconclusive": ("block", "pass"),
    "canary_busy": ("refuse", "wait", "proceed"),
    "canary_simulated": ("allow", "refuse"),
}
_DURATIONS = {
    "canary_probe_deadline": "10m",
    "canary_soak": "10m",
    "canary_soak_every": "30s",
    "canary_busy_wait": "10m",
    "canary_max_age": "14d",
    "canary_hook_timeout": "60s",
    "canary_confirm": "5m",
}
_CONFIRM = (1.0, 30 * 86400.0)  # seconds: in less nothing starts, and for longer nobody means a host to wait
_TRUE = ("true", "yes", "on", "1", "1.0", "t", "y")
_FALSE = ("false", "no", "off", "0", "0.0", "f", "n")


@dataclass(frozen=True)
class Policy:
    """What may be done to the hosts and what happens when it goes wrong.

    `provision`: `auto` installs what a host lacks, `check` reports it as an error, `never` does not look.
    `on_failure`: what follows a failed apply or verdict.
    `delivery`: `push` sends every image from the operator's machine, `pull` has hosts pull every image from its
        registry, `auto` pulls published images and pushes the others.
    `registries`: registries, or beginnings of repositories, that hosts may pull earlier releases from besides those
        that the stack's `ref`s name.
    `probe_deadline`: seconds for all probes together, or for one round of a soak.
    `gates`: names or tags of the probes whose verdict counts; empty means all.
    `inconclusive`: whether a probe or metric that cannot judge blocks.
    `soak`, `soak_every`: seconds for which probes are repeated after they passed, and from one round to the next.
    `metrics`: bounds on measured values.
    `gpu_devices`: the GPUs that services get: `all`, how many, or which (numbers as nvidia-smi has them, or UUIDs).
    `gpu_driver`: whether provisioning installs a driver where there is none.
    `busy`, `busy_wait`: what follows where others compute on them, and seconds to wait for these to end.
    `hook_timeout`: seconds that a hook may take.
    `confirm`: seconds after which hosts go back by themselves from a change that no run confirmed; 0: as long as one
        may take, see deploy/changes.py.
    `audit_ignore`: ids of audit rules whose findings do not count, each with the reason.
    `serial`, `max_fail_percentage`: sizes of the waves that hosts start in (empty: all at once), and how many of a
        wave's hosts may fail.
    `promotes_from`: the environment whose releases alone may come here; empty where this machine makes them.
    `max_age`: seconds since such a release passed there, at most; 0 for any.
    `simulated`: whether a verdict on a simulated GPU is good enough for it.
    `disposable`: whether a baseline may be deployed before the candidate, which migrates its database too.
    """

    provision: str = "check"
    on_failure: str = "rollback"
    delivery: str = "auto"
    registries: tuple[str, ...] = ()
    probe_deadline: float = 600.0
    gates: tuple[str, ...] = ()
    inconclusive: str = "block"
    soak: float = 0.0
    soak_every: float = 30.0
    metrics: tuple[Metric, ...] = ()
    gpu_devices: str | int | tuple[str, ...] = "all"
    gpu_driver: bool = False
    busy: str = "refuse"
    busy_wait: float = 600.0
    disposable: bool = False
    audit_ignore: tuple[tuple[str, str], ...] = ()
    serial: tuple[int | str, ...] = ()
    max_fail_percentage: float = 0.0
    promotes_from: str = ""
    max_age: float = 0.0
    simulated: str = "allow"
    hook_timeout: float = 60.0
    confirm: float = 0.0

    def rules(self) -> dict[str, Any]:
        """By which rules a run is judged, as run.json has it."""
        return {
            "gates": list(self.gates),
            "inconclusive": self.inconclusive,
            "soak": self.soak,
            "soak_every": self.soak_every,
        }


def load_policies(environment: Environment) -> dict[str, Policy]:
    """Read and check the policy of every host.

    Raises:
        ConfigError: a variable has a value it may not have.
    """
    return {name: _policy(host, shown(environment.directory)) for name, host in environment.hosts.items()}


def _policy(host: Host, where: str) -> Policy:
    values: dict[str, Any] = {}
    for read in (_choices, _durations, _judging, _gpus, read_waves):
        values |= read(host, where)
    policy = Policy(**values)
    if policy.confirm and not _CONFIRM[0] <= policy.confirm <= _CONFIRM[1]:
        raise ConfigError(
            f"canary_confirm of {host.name} is {show_duration(policy.confirm)}: between 1 s and 30 days are possible",
            where,
            "leave canary_confirm out, or make it longer than start_timeout, the probes and the soak together",
        )
    if policy.confirm and policy.confirm <= policy.soak:
        raise ConfigError(
            f"canary_confirm of {host.name} is shorter than its canary_soak: every deploy would be taken back",
            where,
            "leave canary_confirm out, or make it longer than start_timeout, the probes and the soak together",
        )
    return policy


def _choices(host: Host, where: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for variable, choices in _CHOICES.items():
        value = host.vars.get(variable)
        if value is None:
            continue
        if value not in choices:
            raise ConfigError(f"{variable} of {host.name} is '{value}'", where, f"one of: {', '.join(choices)}")
        values[variable.removeprefix("canary_")] = value
    return values


def _durations(host: Host, where: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for variable, example in _DURATIONS.items():
        value = host.vars.get(variable)
        if value is None or (value == 0 and variable == "canary_soak"):
            continue
        try:
            seconds = parse_duration(value)
            if not seconds and variable != "canary_soak":
                raise ValueError("it must be longer than nothing")
        except ValueError as error:
            raise ConfigError(f"{variable} of {host.name}: {error}", where, f"for example {example}") from None
        values[variable.removeprefix("canary_")] = seconds
    return values


def _judging(host: Host, where: str) -> dict[str, Any]:
    """Which probes gate, metrics, and whether the hosts' data is disposable."""
    found: Mapping[str, Any] = {key: value for key, value in host.vars.items() if value is not None}
    values: dict[str, Any] = {}
    if "canary_gates" in found:
        gates = found["canary_gates"]
        gates = (gates,) if isinstance(gates, str) else gates
        if not gates or not isinstance(gates, (list, tuple)) or not all(isinstance(gate, str) for gate in gates):
            raise ConfigError(
                f"canary_gates of {host.name} is no list of probes' names or tags",
                where,
                "name at least one; without the variable every probe gates",
            )
        values["gates"] = tuple(gates)
    if "canary_metrics" in found:
        from canaryctl.config.metrics import load_metrics

        values["metrics"] = load_metrics(found["canary_metrics"], where)
    if "canary_disposable" in found:
        values["disposable"] = truth(host, "canary_disposable", where)
    if "canary_promotes_from" in found:
        if not isinstance(found["canary_promotes_from"], str) or not found["canary_promotes_from"]:
            raise ConfigError(f"canary_promotes_from of {host.name} names no environment", where, "for example canary")
        values["promotes_from"] = found["canary_promotes_from"]
    if "canary_registries" in found:
        values["registries"] = _registries(found["canary_registries"], host.name, where)
    if "canary_audit_ignore" in found:
        values["audit_ignore"] = _audit_ignore(found["canary_audit_ignore"], host.name, where)
    return values


def truth(host: Host, variable: str, where: str) -> bool:
    """A boolean as Ansible's roles read it: INI inventories give strings. False where there is none."""
    value = host.vars.get(variable)
    text = "false" if value in (None, "") else str(value).lower()
    if text not in (*_TRUE, *_FALSE):
        raise ConfigError(f"{variable} of {host.name} is '{value}': neither true nor false", where, "write true")
    return text in _TRUE


def _gpus(host: Host, where: str) -> dict[str, Any]:
    """Which GPUs services may have, and whether the role that sets hosts up for them installs a driver."""
    driver = {"gpu_driver": truth(host, "nvidia_container_toolkit_install_driver", where)}
    given = host.vars.get("canary_gpu_devices", "all")
    if given == "all" or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return driver | {"gpu_devices": given}
    if isinstance(given, (list, tuple)) and given and all(isinstance(one, (int, str)) for one in given):
        return driver | {"gpu_devices": tuple(str(one) for one in given)}
    raise ConfigError(
        f"canary_gpu_devices of {host.name} is '{given}'",
        where,
        "write all, a number of GPUs, or a list of their numbers or UUIDs",
    )


def _registries(given: Any, host: str, where: str) -> tuple[str, ...]:
    for one in given if isinstance(given, list) else [None]:
        if not isinstance(one, str) or not REPOSITORY_START.fullmatch(one):
            raise ConfigError(
                f"canary_registries of {host} is no list of registries",
                where,
                "for example [registry.example.com/shop]",
            )
    return tuple(given)


def _audit_ignore(given: Any, host: str, where: str) -> tuple[tuple[str, str], ...]:
    """An exception that nobody can explain is a hole: the reason is required."""
    for entry in given if isinstance(given, list) else [None]:
        rule = entry if isinstance(entry, Mapping) and set(entry) == {"id", "reason"} else {"id": ""}
        if not all(isinstance(text, str) and text.strip() for text in rule.values()):
            raise ConfigError(
                f"canary_audit_ignore of {host} is no list of ids with their reasons",
                where,
                'write for example - {id: reboot-required, reason: "kernel update on Sunday"}',
            )
    return tuple((str(entry["id"]), str(entry["reason"])) for entry in given)
