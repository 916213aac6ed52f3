#!/usr/bin/python
"""Bring a release's services up and wait for their health."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils import supervised
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.compose_cli import Abandoned, complaint, compose, fault_of, inspect, run, service_of
from ansible.module_utils.current import Misplaced, leads_to
from ansible.module_utils.locked import LOCKS, require_held
from ansible.module_utils.serving import bring_up

DOCUMENTATION = r"""
---
module: compose_up
short_description: Bring a release's services up and wait until they are healthy
description:
  - Makes the release current, runs C(docker compose up --detach --wait) and tells exactly whether anything
    changed.
  - With I(current) a unit of the host's own does so (the keeper), which goes on when the connection is lost. It notes
    the change in C(change.json) beside the releases. With I(change) it goes back unless that is confirmed in time.
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
  current:
    description:
      - Link that is made to lead to I(directory) first; none where empty. What is there and no link stays, and nothing
        is started.
    type: path
    default: ""
  replaces:
    description: Compose projects that are stopped first; their volumes stay.
    type: list
    elements: str
    default: []
  change:
    description: Who makes the change and within how many seconds it is to be confirmed; not at all where left out.
    type: dict
    suboptions:
      run:
        description: Names the change.
        type: str
        required: true
      who:
        description: The operator, for the history.
        type: str
        default: ""
      environment:
        description: Name of the environment.
        type: str
        default: ""
      confirm:
        description: Seconds from the beginning after which the host goes back by itself.
        type: float
        required: true
      back:
        description: C(release) (name of the directory) and C(project) that last passed here; null for none.
        type: dict
      why:
        description: Why there is nothing to go back to.
        type: str
        default: ""
  locks: {description: Locks that must be held (see M(lock_held))., type: list, elements: dict, default: []}
author: canaryctl
"""

EXAMPLES = r"""
- name: Start everything
  compose_up:
    directory: /opt/canaryctl/shop/releases/4f1c-9a2b
    project: shop-canary
    env_file: /opt/canaryctl/shop/secrets.env
    current: /opt/canaryctl/shop/current
"""

RETURN = r"""
canary_gaps:
  description: Per service, when it stopped serving and when it served again by this host's clock, in seconds since
    1970; C(from) is null for one that did not serve before, C(until) for one that has not become healthy. C(since) is
    there for one that was found stopped, and says since when, or null; C(earlier) for one that was away between an
    earlier change and this one, and says from when and until when.
  returned: always
  type: dict
canary_failure:
  description: On failure, compose's own words and per service that is not well its state, health output and log tail.
  returned: failure
  type: dict
"""


CHANGE = {
    "type": "dict",
    "options": {
        "run": {"type": "str", "required": True},
        "who": {"type": "str", "default": ""},
        "environment": {"type": "str", "default": ""},
        "confirm": {"type": "float", "required": True},
        "back": {"type": "dict"},
        "why": {"type": "str", "default": ""},
    },
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "project": {"type": "str", "required": True},
            "env_file": {"type": "path", "default": ""},
            "services": {"type": "list", "elements": "str", "default": []},
            "recreate": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 120},
            "current": {"type": "path", "default": ""},
            "replaces": {"type": "list", "elements": "str", "default": []},
            "change": CHANGE,
            "locks": LOCKS,
        },
        supports_check_mode=True,
    )
    wanted = module.params
    require_held(module)
    try:
        if module.check_mode:
            base = compose(wanted["project"], wanted["directory"], wanted["env_file"])
            module.exit_json(**foresee(base, wanted))
        answer = supervised.bring_up(wanted) if wanted["current"] else bring_up(wanted)
    except Abandoned:
        module.fail_json(msg="interrupted: the connection to this host was closed")
    except (Misplaced, supervised.Unnoted) as refused:
        module.fail_json(msg=str(refused))
    except OSError as error:
        module.fail_json(msg=fault_of(error))
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


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
    moves = bool(wanted["current"]) and not leads_to(Path(wanted["current"]), Path(wanted["directory"]))
    changes = {"moves": moves, "starts": starts, "replaces": replaces, "removes": removes}
    return {"changed": any(changes.values()), **changes}


if __name__ == "__main__":
    main()
