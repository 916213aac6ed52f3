#!/usr/bin/python
"""Bring a release's services up and wait for their health."""

from __future__ import annotations

import re
from pathlib import Path

from ansible.module_utils.applied_secrets import remember_secrets
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.compose_cli import Abandoned, complaint, compose, inspect, run, service_of

DOCUMENTATION = r"""
---
module: compose_up
short_description: Bring a release's services up and wait until they are healthy
description:
  - Runs C(docker compose up --detach --wait) and tells exactly whether any container changed.
  - On failure says which services are not well and why, with their last health output and the end of their logs.
options:
  directory:
    description: The release, which holds compose.yml.
    type: path
    required: true
  project:
    description: Name of the compose project.
    type: str
    required: true
  env_file:
    description: File with the values the compose file refers to; may be missing.
    type: path
    default: ""
  services:
    description: Only these services; all where empty.
    type: list
    elements: str
    default: []
  recreate:
    description: Whether running containers that differ from the compose file are replaced.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for health.
    type: int
    default: 120
author: canaryctl
"""

EXAMPLES = r"""
- name: Start everything
  compose_up:
    directory: /opt/canaryctl/shop/releases/4f1c-9a2b
    project: shop-canary
    env_file: /opt/canaryctl/shop/secrets.env
"""

RETURN = r"""
canary_failure:
  description: On failure, compose's own words and per service that is not well its state, health output and log tail.
  returned: failure
  type: dict
"""


LOG_LINES = 40
NOISE = re.compile(r"driver failed programming external connectivity on endpoint \S+ \([0-9a-f]+\): ")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "project": {"type": "str", "required": True},
            "env_file": {"type": "path", "default": ""},
            "services": {"type": "list", "elements": "str", "default": []},
            "recreate": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    base = compose(wanted["project"], wanted["directory"], wanted["env_file"])
    try:
        if module.check_mode:
            module.exit_json(**foresee(base, wanted))
        before = {c["Id"]: c["State"]["StartedAt"] for c in inspect(wanted["project"])}
        argv = [*base, "up", "--detach", "--wait", "--wait-timeout", str(wanted["wait_timeout"])]
        argv += ["--no-build", "--pull", "never"]
        argv += ["--remove-orphans"] if wanted["recreate"] else ["--no-recreate"]
        code, _, stderr = run([*argv, *wanted["services"]], wanted["wait_timeout"] + 60)
        after = inspect(wanted["project"])
        changed = before != {c["Id"]: c["State"]["StartedAt"] for c in after}
        if code:
            failure = diagnose(base, wanted["services"], after)
            failure["message"] = NOISE.sub("", complaint(stderr)) or f"docker compose up ended with code {code}"
            module.fail_json(msg=summary(failure), changed=changed, canary_failure=failure)
        if wanted["recreate"] and not wanted["services"]:
            remember_secrets(wanted["env_file"])
    except Abandoned:
        module.fail_json(msg="interrupted: the connection to this host was closed")
    except OSError as error:
        module.fail_json(msg=f"Docker does not answer: {error}")
    module.exit_json(changed=changed)


def foresee(base: list[str], wanted: dict) -> dict:
    """What `up` would do, read from the hashes compose keeps of each service's configuration."""
    if not (Path(wanted["directory"]) / "compose.yml").exists():
        return {"changed": True, "msg": "the release is not on this host yet"}
    code, out, err = run([*base, "config", "--hash", "*"], 60)
    if code:
        return {"failed": True, "msg": complaint(err)}
    hashes = dict(line.split() for line in out.splitlines() if line.strip())
    running = {
        service_of(c): c["Config"]["Labels"].get("com.docker.compose.config-hash")
        for c in inspect(wanted["project"])
        if c["State"]["Running"]
    }
    concerned = wanted["services"] or sorted(set(hashes) | set(running))
    starts = [s for s in concerned if s in hashes and s not in running]
    replaces = [s for s in concerned if s in hashes and s in running and running[s] != hashes[s]]
    removes = [s for s in concerned if s not in hashes]
    replaces, removes = (replaces, removes) if wanted["recreate"] else ([], [])
    return {"changed": bool(starts + replaces + removes), "starts": starts, "replaces": replaces, "removes": removes}


def diagnose(base: list[str], services: list[str], containers: list[dict]) -> dict:
    """Per service that does not run healthily: its state, last health output and the end of its log."""
    code, out, _ = run([*base, "config", "--services"], 60)
    expected = set(services) or (set(out.split()) if code == 0 else set())
    found = {}
    for container in containers:
        service, state = service_of(container), container["State"]
        health = state.get("Health") or {}
        well = state["Running"] and not state["Restarting"] and health.get("Status", "healthy") == "healthy"
        expected.discard(service)
        if well or (services and service not in services):
            continue
        probes = health.get("Log") or []
        _, log, errors = run(["docker", "logs", "--tail", str(LOG_LINES), container["Id"]], 30)
        found[service] = {
            "state": state["Status"],
            "exit_code": state["ExitCode"],
            "restarts": container.get("RestartCount", 0),
            "oom_killed": state.get("OOMKilled", False),
            "error": NOISE.sub("", state.get("Error", "")),
            "health": health.get("Status", ""),
            "health_output": probes[-1].get("Output", "").strip()[-2000:] if probes else "",
            "log": (log + errors)[-8000:],
        }
    for service in sorted(expected):
        found[service] = {"state": "missing", "health": "", "health_output": "", "log": ""}
    return {"services": found}


def summary(failure: dict) -> str:
    """One sentence per service that is to blame; compose's own words where they say more."""
    parts = []
    for service, found in sorted(failure["services"].items()):
        if found["state"] in ("created", "missing") and not found.get("error"):
            continue
        if found["state"] == "created":
            parts.append(f"{service} could not start: {found['error']}")
        elif found["health"] and found["state"] == "running":
            said = found["health_output"].splitlines()[-1:] or ["no health check has answered yet"]
            parts.append(f"{service} is {found['health']}: {said[0]}")
        else:
            said = found.get("error") or (found["log"].strip().splitlines() or ["it left no log"])[-1]
            parts.append(f"{service} is {found['state']} (exit code {found.get('exit_code')}): {said}")
    engine = re.findall(r"(?:Error response from daemon|[Ee]rror): *(.+)", failure["message"])
    if engine and not any(engine[-1].strip() in part for part in parts):
        parts.insert(0, engine[-1].strip())
    return "; ".join(parts) or failure["message"]


if __name__ == "__main__":
    main()
