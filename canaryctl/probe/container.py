"""Kind `container`: a service's containers as Docker knows them: state, health, restarts, image."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any

from canaryctl.config.probes.container import Container
from canaryctl.facts.jsontext import parse_json
from canaryctl.probe.expect import start
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.results import Outcome, Unanswered, failed, passed
from canaryctl.probe.scope import Scope, until_passed
from canaryctl.probe.service import docker_within, find_containers, run_script

# Only these fields: the rest of an inspection holds the values of the stack's secrets.
_FIELDS = '{"name":{{json .Name}},"image":{{json .Image}},"restarts":{{json .RestartCount}},"state":{{json .State}}}'


def run(probe: Container, scope: Scope) -> Outcome:
    """Look at the containers until they are as expected."""
    return until_passed(probe, scope, _attempt)


def _attempt(probe: Container, scope: Scope) -> Outcome:
    if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
        return outcome
    found, tagged = _inspect(probe, scope)
    identity = scope.context.identities.get(probe.on, "")
    faults = []
    for container in found:
        name = str(container["name"]).lstrip("/")
        faults += [f"{name} {fault}" for fault in container_faults(container, probe.restarts)]
        faults += [f"{name} {fault}" for fault in image_faults(container, identity, tagged)]
    if faults:
        return failed(scope.context.scrub("; ".join(faults)))
    health = (found[0]["state"].get("Health") or {}).get("Status", "without a health check")
    return passed(f"running, {health}, {found[0]['restarts']} restarts, the release's image")


def container_faults(container: Mapping[str, Any], restarts: int) -> list[str]:
    """What is wrong with a container's state; `restarts` is how many are allowed."""
    state, faults = container["state"], []
    killed = ", killed for lack of memory (OOM)" if state.get("OOMKilled") else ""
    if state["Status"] != "running":
        error = f" ({state['Error']})" if state.get("Error") else ""
        faults.append(f"is {state['Status']}, exit code {state.get('ExitCode')}{error}{killed}")
    elif killed:
        faults.append(f"runs, but a process of it was{killed.removeprefix(',')}")
    health = state.get("Health") or {}
    if state["Status"] == "running" and health.get("Status", "healthy") != "healthy":
        output = ((health.get("Log") or [{}])[-1] or {}).get("Output", "")
        faults.append(f"is {health['Status']}: its health check says {start(output, 240)}")
    if container["restarts"] > restarts:
        allowed = f"at most {restarts} allowed" if restarts else "none allowed"
        times = "once" if container["restarts"] == 1 else f"{container['restarts']} times"
        faults.append(f"was restarted {times} since it was made, {allowed}")
    return faults


def image_faults(container: Mapping[str, Any], identity: str, tagged: str) -> list[str]:
    """Whether a container is made from the release's image.

    Args:
        identity: the config digest the release names; empty where it is not known.
        tagged: the id of the release's own tag on hosts whose image store has no config digests to compare; else empty.
    """
    image = container["image"]
    if not identity:
        return ["belongs to no known release, so its image cannot be judged"]
    # What the tag points at was verified by config digest when it arrived.
    if image == (tagged or identity):
        return []
    return [f"runs image {image.removeprefix('sha256:')[:12]}, the release has {identity.removeprefix('sha256:')[:12]}"]


def _inspect(probe: Container, scope: Scope) -> tuple[list[dict[str, Any]], str]:
    """The service's containers, and the id of the release's tag where the host's image store needs it."""
    left = max(scope.ends(probe.timeout) - time.monotonic(), 0.1)
    limited = docker_within(left, sudo=scope.sudo)
    script = find_containers(scope.context.project, probe.on, sudo=scope.sudo, stopped=True)
    if scope.host in scope.context.by_tag:
        tag = shlex.quote(str(scope.names.get("images", {}).get(probe.on) or "none"))
        script += f"{limited} image inspect --format '{{{{json .Id}}}}' {tag} 2>/dev/null || true\n"
    script += f"{limited} inspect --format '{_FIELDS}' $ids\n"
    ran = run_script(scope, script, service=probe.on, shown="inspect", method="INSPECT", timeout=left)
    try:
        # A tag that is not there leaves an empty line of its own.
        lines = [parse_json(line) for line in ran.stdout.decode("utf-8", "replace").splitlines() if line]
        found = [line for line in lines if isinstance(line, dict)]
        if ran.code or not found:
            raise ValueError(ran.complaint)
        return found, next((line for line in lines if isinstance(line, str) and line), "")
    except ValueError:
        raise Unanswered(f"Docker on {scope.host} did not answer: {start(ran.complaint, 240)}") from None
