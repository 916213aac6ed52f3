"""What an environment serves, at a glance: one environment or all. Nothing is changed and no run is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from canaryctl.commands.history import made_current, shown_time
from canaryctl.commands.locks import lock_lines
from canaryctl.errors import CanaryError, HostError
from canaryctl.evidence.signatures import standing, standing_words
from canaryctl.facts import HostFacts
from canaryctl.hosts import Connections, observe
from canaryctl.plan.deployment import Request, Scene
from canaryctl.plan.drift import drift
from canaryctl.plan.plan import readiness


def status(request: Request) -> tuple[dict[str, Any], list[HostError]]:
    """Release, services and readiness of every host, and the hosts that could not be asked.

    `release.id` is None where hosts differ or serve nothing.
    """
    return _status(Scene(request), request)


def status_of_all(request: Request) -> tuple[dict[str, Any], list[CanaryError]]:
    """`environments`: the status of every environment of the project, all asked at once, and what went wrong.

    An environment whose files are faulty has `error` alone. A password that was asked for is of one environment, and
    nobody said which: where there are several, each has only what its inventory gives.
    """
    if len(request.project.environments()) > 1:
        request = replace(request, become_password=None)
    scenes: dict[str, Scene] = {}
    answers: dict[str, dict[str, Any]] = {}
    problems: list[CanaryError] = []
    for name in request.project.environments():
        answers[name] = {"environment": name}  # in this order, whoever answers first
        try:
            scenes[name] = Scene(replace(request, environment=name))
        except CanaryError as error:
            answers[name]["error"] = error.as_dict()
            problems.append(error)
    with ThreadPoolExecutor(max_workers=max(len(scenes), 1)) as pool:
        for name, (answer, failures) in zip(
            scenes, pool.map(lambda scene: _status(scene, scene.request), scenes.values()), strict=True
        ):
            answers[name] = answer
            problems += failures
    return {"environments": answers}, problems


def _status(scene: Scene, request: Request) -> tuple[dict[str, Any], list[HostError]]:
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
    hosts |= {
        name: {"reachable": False, "why": failure.what, "missing": list(scene.placed.get(name, ()))}
        for name, failure in seen.failures.items()
    }
    ids = {host.get("release") for name, host in hosts.items() if name in scene.placed}
    return {
        "environment": scene.environment.name,
        "stack": scene.stack.stack,
        "release": {"id": next(iter(ids)) if len(ids) == 1 else None},
        **_together([hosts[name] for name in scene.placed if name in hosts], scene),
        "hosts": {host.name: hosts[host.name] for host in scene.hosts},
    }, list(seen.failures.values())


def _host(scene: Scene, facts: HostFacts) -> dict[str, Any]:
    current = facts.state.current_release or {}
    last = facts.state.history[-1] if facts.state.history else None
    brought = made_current(current.get("id"), facts.state.history) or {}
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
        "since": brought.get("time"),
        "by": brought.get("who"),
        "drift": drift(facts, scene.compose_project) if current.get("environment") == scene.environment.name else [],
        "services": services,
        "missing": [name for name in scene.placed.get(facts.host, ()) if name not in services],
        "lacks": readiness(facts),
        "simulated": facts.gpu_simulated,
        "lock": facts.state.lock.as_dict() if facts.state.lock else None,
        "last": last and {**last, **standing(last, scene.environment, scene.stack.stack)},
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
        since = f" since {shown_time(host['since'])} by {host['by']}" if host["since"] else ""
        then = f", last {last.get('what')} {shown_time(last.get('time'))} by {last.get('who')}" if last else ""
        then += f", {signed}" if (signed := standing_words(last)) else ""
        lines.append(f"  {name}: {served}{since}{then}")
        lines += [f"    drift: {difference}" for difference in host["drift"]]
        lines += [f"    {said}" for said in lock_lines(host["lock"])]
        lines += [f"    {lack}" for lack in host["lacks"]]
        for service, seen in host["services"].items():
            health = f", {seen['health']}" if seen["health"] else ""
            restarts = f", {seen['restarts']} restarts" if seen["restarts"] else ""
            lines.append(f"    {service:<22} {seen['state']}{health}{restarts}  {seen['image']}")
        lines += [f"    {service:<22} not there" for service in host["missing"]]
    return lines


def overview_lines(answer: Mapping[str, Any]) -> list[str]:
    """All environments as text, a line each."""
    rows = [_overview(name, found) for name, found in answer["environments"].items()]
    widths = [max((len(row[column]) for row in rows if len(row) > 2), default=0) for column in range(4)]
    padded = [[text.ljust(width) for text, width in zip(row, [*widths, 0, 0], strict=False)] for row in rows]
    return ["  ".join(row).rstrip() for row in padded] or ["there are no environments"]


def _overview(name: str, found: Mapping[str, Any]) -> list[str]:
    if error := found.get("error"):
        return [name, f"faulty: {error['what']}"]
    release = found["release"]["id"]
    if found["replaced_by"]:
        return [name, f"its hosts serve {', '.join(found['replaced_by'])}", "", "", ""]
    served = f"{release[:12]} ({found['variant']})" if release else _served(found)
    since = f"since {shown_time(found['since'])} by {found['by']}" if found["since"] else ""
    said = [f"drift: {'unknown' if found['drift'] is None else 'yes' if found['drift'] else 'no'}"] if release else []
    said += [f"locked{_locked_by(found['lock'])}"] if found["lock"] else []
    lost = [host for host, state in found["hosts"].items() if not state["reachable"]]
    said += [f"unreachable: {', '.join(lost)}"] if lost else []
    return [name, served, since, f"{found['healthy']} of {found['services']} healthy", ", ".join(said)]


def _served(found: Mapping[str, Any]) -> str:
    ids = {host.get("release") for host in found["hosts"].values() if host["reachable"]}
    return "different releases" if len(ids) > 1 else "no release" if ids else "unknown"


def _together(hosts: Sequence[Mapping[str, Any]], scene: Scene) -> dict[str, Any]:
    """What the hosts of an environment are together.

    `drift` is None where a host that could tell is not reachable and none of the others drifted.
    """
    seen = [host for host in hosts if host["reachable"]]
    ids = {host["release"] for host in seen}
    others = sorted({str(host["environment"]) for host in seen} - {scene.environment.name, "None"})
    first = min((host for host in seen if host["since"]), key=lambda host: str(host["since"]), default=None)
    drifted = any(host["drift"] for host in seen)
    services = [
        service for host in seen for service in host["services"].values() if service["project"] == scene.compose_project
    ]
    wanted = sum(len(scene.placed.get(host.name, ())) for host in scene.hosts)
    return {
        "variant": seen[0]["variant"] if len(ids) == 1 else None,
        "replaced_by": others,
        "since": first["since"] if first and len(ids) == 1 else None,
        "by": first["by"] if first and len(ids) == 1 else None,
        "healthy": sum(service["state"] == "running" and service["health"] in ("", "healthy") for service in services),
        "services": max(len(services), wanted),
        "drift": None if len(seen) < len(hosts) and not drifted else drifted,
        "lock": next((host["lock"] for host in seen if host["lock"]), None),
    }


def _locked_by(lock: Mapping[str, Any]) -> str:
    return f" by {lock['holder']}"
