"""What an environment serves, at a glance: one environment or all. Nothing is changed and no run is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canaryctl.errors import HostError
from canaryctl.observe import Connections, HostFacts, observe
from canaryctl.plan.plan import readiness
from canaryctl.scene import Request, Scene


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
        lines += [f"    {lack}" for lack in host["lacks"]]
        for service, seen in host["services"].items():
            health = f", {seen['health']}" if seen["health"] else ""
            restarts = f", {seen['restarts']} restarts" if seen["restarts"] else ""
            lines.append(f"    {service:<22} {seen['state']}{health}{restarts}  {seen['image']}")
        lines += [f"    {service:<22} not there" for service in host["missing"]]
    return lines
