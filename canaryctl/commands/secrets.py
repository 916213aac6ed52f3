"""What is known of an environment's secrets, here and on its hosts, without a value of any. Changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from canaryctl.agent.read.envfile import line_macs
from canaryctl.config.secrets import env_file, find_secrets
from canaryctl.errors import HostError
from canaryctl.facts.fingerprints import fingerprint, salt_of
from canaryctl.facts.programs import HeldSecret, HeldSecrets, believed
from canaryctl.hosts import Connection, Fleet
from canaryctl.hosts.ask import ask
from canaryctl.plan.deployment import Deployment, Request, load_deployment
from canaryctl.plan.rotation import compare_secrets


@dataclass(frozen=True)
class FoundSecret:
    """Where a secret comes from, and whether it is there; `fingerprint` is '' where it is not."""

    name: str
    source: str
    place: str
    present: bool
    problem: str
    fingerprint: str


@dataclass(frozen=True)
class SecretList:
    """Every secret of a stack, and those that the environment gives unasked."""

    environment: str
    stack: str
    secrets: list[FoundSecret]
    unasked: list[str]


@dataclass(frozen=True)
class ComparedSecret:
    """How a secret stands on a host: same, differs, missing, extra, or unknown where there is no value here.

    `here` and `there` are fingerprints, '' where there is no value.
    """

    name: str
    status: str
    here: str
    there: str


@dataclass(frozen=True)
class SecretDiff:
    """The secrets of each host with services that could be asked; `missing` have no value here: `name`, `problem`."""

    environment: str
    stack: str
    missing: list[dict[str, str]]
    hosts: dict[str, list[ComparedSecret]]


def check(request: Request) -> SecretList:
    """Look every secret of the stack up.

    Raises:
        ConfigError: the stack or the environment is faulty.
    """
    deployment = load_deployment(request)
    found = find_secrets(deployment.stack.secrets, deployment.configuration.secret_sources, deployment.environment.name)
    rows = [
        FoundSecret(
            name=secret.name,
            source=secret.kind,
            place=secret.place,
            present=not secret.problem,
            problem=secret.problem,
            fingerprint="" if secret.problem else _print(deployment, secret.name, secret.value),
        )
        for secret in found
    ]
    unasked = sorted(set(deployment.configuration.secret_sources) - set(deployment.stack.secrets))
    return SecretList(deployment.environment.name, deployment.stack.stack, rows, unasked)


def diff(request: Request) -> tuple[SecretDiff, list[HostError]]:
    """How each secret stands on each host with services, and the hosts that could not be asked.

    Raises:
        ConfigError: the stack or the environment is faulty.
    """
    deployment = load_deployment(request)
    found = find_secrets(deployment.stack.secrets, deployment.configuration.secret_sources, deployment.environment.name)
    values = {secret.name: secret.value for secret in found if not secret.problem}
    problems = {secret.name: secret.problem for secret in found if secret.problem}
    nonce = secrets.token_hex(16)
    wanted = line_macs(nonce, env_file(values).encode())
    here = {name: _print(deployment, name, value) for name, value in values.items()}
    hosts = [host for host in deployment.hosts if host.name in deployment.placed]
    with Fleet(hosts, request.become_password) as fleet:
        seen, failures = fleet.each(fleet.hosts, lambda connection: _held(connection, deployment, nonce))
    missing = [{"name": name, "problem": problem} for name, problem in problems.items()]
    rows = {host: compared(wanted, here, set(problems), held) for host, held in seen.items()}
    return SecretDiff(deployment.environment.name, deployment.stack.stack, missing, rows), list(failures.values())


def compared(
    wanted: Mapping[str, str], here: Mapping[str, str], unknown: set[str], held: Mapping[str, HeldSecret]
) -> list[ComparedSecret]:
    """How each secret stands on a host, by name. Pure.

    Args:
        wanted: keyed digests of the values here.
        here: their fingerprints.
        unknown: secrets that have no value here.
        held: what the host holds.
    """
    statuses = compare_secrets(wanted, {name: one.mac for name, one in held.items()})
    statuses |= dict.fromkeys(unknown, "unknown")
    return [
        ComparedSecret(name, statuses[name], here.get(name, ""), held[name].fingerprint if name in held else "")
        for name in sorted(statuses)
    ]


def _held(connection: Connection, deployment: Deployment, nonce: str) -> dict[str, HeldSecret]:
    config = {
        "stack": deployment.stack.stack,
        "nonce": nonce,
        "salt": salt_of(deployment.stack.stack, deployment.environment.name),
    }
    answer = believed(connection.host, HeldSecrets, ask(connection, "secrets", config))
    if answer.error:
        reason = answer.become_reason or answer.error
        raise HostError(
            f"its secrets cannot be read: {reason}",
            connection.host,
            "Give --ask-become-pass, or allow sudo without a password.",
            reason="sudo" if answer.become_reason else "agent",
        )
    return answer.secrets


def _print(deployment: Deployment, name: str, value: str) -> str:
    return fingerprint(deployment.stack.stack, deployment.environment.name, name, value)
