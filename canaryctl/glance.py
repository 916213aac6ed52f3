"""What an environment serves, at a glance: status and logs. Nothing is changed and no run is left."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Callable, Mapping
from typing import Any

from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError, HostError
from canaryctl.locks import lock_lines
from canaryctl.observe import Connections, HostFacts, observe
from canaryctl.plan.plan import readiness
from canaryctl.record.scrub import Scrubber
from canaryctl.scene import Request, Scene

# compose erases its cursor line whatever its options say.
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def status(request: Request) -> tuple[dict[str, Any], list[HostError]]:
    """Release, services and readiness of every host, and the hosts that could not be asked.

    `release.id` is None where hosts differ or serve nothing.
    """
    scene = Scene(request)
    with Connections(scene.hosts) as connections:
        seen = observe(
            connections,
            scene.hosts,
            stack=scene.stack.stack,
            releases=[],
            nonce="",
            become_password=request.become_password,
        )
    hosts = {name: _host(scene, facts) for name, facts in seen.facts.items()}
    hosts |= {name: {"reachable": False, "why": failure.what} for name, failure in seen.failures.items()}
    ids = {host.get("release") for name, host in hosts.items() if name in scene.placed}
    return {
        "environment": scene.environment.name,
        "stack": scene.stack.stack,
        "release": {"id": next(iter(ids)) if len(ids) == 1 else None},
        "hosts": {host.name: hosts[host.name] for host in scene.hosts},
    }, list(seen.failures.values())


def _host(scene: Scene, facts: HostFacts) -> dict[str, Any]:
    current = facts.state.current_release or {}
    services = {
        container.service: {
            "state": container.state,
            "health": container.health,
            "image": container.image,
            "project": container.project,
            "restarts": container.restarts,
        }
        for container in facts.containers
        if container.project.startswith(f"{scene.stack.stack}-")
    }
    return {
        "reachable": True,
        "release": current.get("id"),
        "environment": current.get("environment"),
        "variant": current.get("variant"),
        "services": services,
        "missing": [name for name in scene.placed.get(facts.host, ()) if name not in services],
        "lacks": readiness(facts),
        "simulated": facts.gpu_simulated,
        "lock": facts.state.lock.as_dict() if facts.state.lock else None,
        "last": facts.state.history[-1] if facts.state.history else None,
    }


def status_lines(answer: Mapping[str, Any]) -> list[str]:
    """Status as text."""
    release = answer["release"]["id"]
    lines = [f"{answer['stack']} on {answer['environment']}: {f'release {release}' if release else 'no one release'}"]
    for name, host in answer["hosts"].items():
        if not host["reachable"]:
            lines.append(f"  {name}: unreachable: {host['why']}")
            continue
        other = host["environment"] if host["environment"] not in (None, answer["environment"]) else None
        of = f" of environment {other}" if other else ""
        served = f"release {host['release'][:12]} ({host['variant']}){of}" if host["release"] else "no release"
        last = host["last"] or {}
        since = f", last {last.get('what')} {last.get('time')} by {last.get('who')}" if last else ""
        lines.append(f"  {name}: {served}{since}")
        lines += [f"    {said}" for said in lock_lines(host["lock"])]
        lines += [f"    {lack}" for lack in host["lacks"]]
        for service, seen in host["services"].items():
            health = f", {seen['health']}" if seen["health"] else ""
            restarts = f", {seen['restarts']} restarts" if seen["restarts"] else ""
            lines.append(f"    {service:<22} {seen['state']}{health}{restarts}  {seen['image']}")
        lines += [f"    {service:<22} not there" for service in host["missing"]]
    return lines


def logs(
    request: Request, service: str | None, *, tail: int, follow: bool, say: Callable[[str], None]
) -> list[HostError]:
    """Print the logs of services line by line, each with its host and service. Returns hosts that failed."""
    scene = Scene(request)
    known = {name for services in scene.placed.values() for name in services}
    if service is not None and service not in known:
        raise ConfigError(f"no service '{service}'", shown(scene.stack.file), f"services: {', '.join(sorted(known))}")
    scrub = Scrubber(scene.secrets)
    wanted = [h for h in scene.hosts if service is None or service in scene.placed.get(h.name, ())]
    turn = threading.Lock()

    with Connections(wanted, request.become_password) as connections:
        seen = observe(
            connections, wanted, stack=scene.stack.stack, releases=[], nonce="", become_password=request.become_password
        )

        def one(host: str) -> None:
            facts = seen.facts[host]
            docker = "sudo -n docker" if facts.become == "sudo" else "docker"
            only = f" {shlex.quote(service)}" if service else ""
            command = (
                f"{docker} compose -p {shlex.quote(scene.compose_project)} logs --no-color --timestamps"
                f" --tail {tail}{' --follow' if follow else ''}{only} 2>&1"
            )
            rest = b""

            def feed(chunk: bytes) -> None:
                nonlocal rest
                *lines, rest = (rest + chunk).split(b"\n")
                with turn:
                    for line in lines:
                        say(scrub(f"{host}  {_TERMINAL.sub('', line.decode(errors='replace')).rstrip()}"))

            connections.get(host).read(command, feed, timeout=None, tty=follow)

        _, failures = connections.each([host for host in wanted if host.name in seen.facts], lambda c: one(c.host))
    return [*seen.failures.values(), *failures.values()]
