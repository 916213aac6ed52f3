"""What is known of an environment's secrets, here and on its hosts, without a value of any. Changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from canaryctl.agent.read.envfile import line_macs
from canaryctl.config.environment import Host
from canaryctl.config.secrets import Secret, env_file, find_secrets
from canaryctl.errors import HostError
from canaryctl.facts.fingerprints import fingerprint, salt_of
from canaryctl.facts.told import HeldSecret, HeldSecrets, believed
from canaryctl.hosts import Connection, Connections
from canaryctl.hosts.ask import ask
from canaryctl.plan.deployment import Request, Scene
from canaryctl.plan.rotation import compare_secrets


def check(request: Request) -> dict[str, Any]:
    """Every secret of the stack: `name`, `source`, `place`, `present`, `problem` and `fingerprint` ('' where missing).

    Raises:
        ConfigError: the stack or the environment is faulty.
    """
    scene = Scene(request)
    found = find_secrets(scene.stack.secrets, scene.secret_sources, scene.environment.name)
    return {
        "environment": scene.environment.name,
        "stack": scene.stack.stack,
        "secrets": [_row(scene, secret) for secret in found],
        "unasked": sorted(set(scene.secret_sources) - set(scene.stack.secrets)),
    }


def _row(scene: Scene, secret: Secret) -> dict[str, Any]:
    return {
        "name": secret.name,
        "source": secret.kind,
        "place": secret.place,
        "present": not secret.problem,
        "problem": secret.problem,
        "fingerprint": "" if secret.problem else _print(scene, secret.name, secret.value),
    }


def diff(request: Request) -> tuple[dict[str, Any], list[HostError]]:
    """How each secret stands on each host with services, and the hosts that could not be asked.

    A row has `name`, `status` (same, differs, missing, extra, or unknown where there is no value here), and the
    fingerprints `here` and `there`.

    Raises:
        ConfigError: the stack or the environment is faulty.
    """
    scene = Scene(request)
    found = find_secrets(scene.stack.secrets, scene.secret_sources, scene.environment.name)
    values = {secret.name: secret.value for secret in found if not secret.problem}
    problems = {secret.name: secret.problem for secret in found if secret.problem}
    nonce = secrets.token_hex(16)
    wanted = line_macs(nonce, env_file(values).encode())
    here = {name: _print(scene, name, value) for name, value in values.items()}
    hosts = [host for host in scene.hosts if host.name in scene.placed]
    with Connections(hosts) as connections:
        seen, failures = connections.each(hosts, lambda connection: _held(connection, scene, nonce))
    return {
        "environment": scene.environment.name,
        "stack": scene.stack.stack,
        "missing": [{"name": name, "problem": problem} for name, problem in problems.items()],
        "hosts": {host: _rows(wanted, here, set(problems), there) for host, there in seen.items()},
    }, list(failures.values())


def _rows(
    wanted: Mapping[str, str], here: Mapping[str, str], unknown: set[str], there: Mapping[str, HeldSecret]
) -> list[dict[str, str]]:
    statuses = compare_secrets(wanted, {name: one.mac for name, one in there.items()})
    statuses |= dict.fromkeys(unknown, "unknown")
    return [
        {
            "name": name,
            "status": statuses[name],
            "here": here.get(name, ""),
            "there": there[name].fingerprint if name in there else "",
        }
        for name in sorted(statuses)
    ]


def _held(connection: Connection, scene: Scene, nonce: str) -> dict[str, HeldSecret]:
    host: Host = scene.environment.hosts[connection.host]
    config = {
        "root": host.root,
        "stack": scene.stack.stack,
        "nonce": nonce,
        "salt": salt_of(scene.stack.stack, scene.environment.name),
    }
    said = ask(connection, host, "secrets", config, become_password=scene.request.become_password)
    answer = believed(host.name, HeldSecrets, said)
    if answer.error:
        reason = answer.become_reason or answer.error
        raise HostError(
            f"its secrets cannot be read: {reason}",
            host.name,
            "Give --ask-become-pass, or allow sudo without a password.",
            reason="sudo" if answer.become_reason else "agent",
        )
    return answer.secrets


def _print(scene: Scene, name: str, value: str) -> str:
    return fingerprint(scene.stack.stack, scene.environment.name, name, value)


def check_lines(answer: Mapping[str, Any]) -> list[str]:
    """`check` as text."""
    rows: Sequence[Mapping[str, Any]] = answer["secrets"]
    if not rows:
        return [f"{answer['stack']} asks for no secrets"]
    width = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        state = f"present  {row['fingerprint']}" if row["present"] else f"missing: {row['problem']}"
        lines.append(f"{row['name']:<{width}}  {row['source']:<8}{row['place']}  {state}")
    return lines + [f"{name} is in canary_secrets, and the stack does not ask for it" for name in answer["unasked"]]


def diff_lines(answer: Mapping[str, Any]) -> list[str]:
    """`diff` as text."""
    words = {
        "same": "same",
        "differs": "differs",
        "missing": "missing on the host",
        "extra": "extra on the host",
        "unknown": "has no value here",
    }
    lines = []
    for host, rows in answer["hosts"].items():
        lines.append(f"{host}:" if rows else f"{host}: no secrets, here or there")
        for row in rows:
            both = f"here {row['here'] or '-'}, there {row['there'] or '-'}"
            lines.append(f"  {row['name']:<24} {words[row['status']]:<20} {both}")
    return lines
