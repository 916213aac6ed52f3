#!/usr/bin/python
"""Refuse a release whose PostgreSQL cannot open the data that is there."""

from __future__ import annotations

import json

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.compose_cli import Abandoned, complaint, compose, run
from ansible.module_utils.postgres import Trouble, connect, find_container, majors_of_image, size_of

DOCUMENTATION = r"""
---
module: postgres_major
short_description: Refuse a release whose PostgreSQL cannot open the data that is there
description:
  - Compares the major version of the server that runs with those that the release's image holds. Nothing is changed.
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
  service:
    description: The service that runs the database.
    type: str
    required: true
  user:
    description: A superuser of the server; found out where empty.
    type: str
    default: ""
author: canaryctl
"""

EXAMPLES = r"""
- name: Refuse another major version
  postgres_major:
    directory: /opt/canaryctl/shop/releases/4f1c-9a2b
    project: shop-canary
    service: db
"""

RETURN = r"""
running:
  description: Major version of the server that runs; 0 where it was not asked.
  returned: success
  type: int
image:
  description: Major versions in the release's image; empty where they were not looked for.
  returned: success
  type: list
"""

HINT = (
    "keep the major version, or move the data by hand: dump it from the server that runs (pg_dumpall), give the "
    "service a new volume in the compose template, deploy, and restore the dump there; docs/backups.md has the steps"
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "project": {"type": "str", "required": True},
            "env_file": {"type": "path", "default": ""},
            "service": {"type": "str", "required": True},
            "user": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        running, image = look(module.params)
    except Abandoned:
        module.fail_json(msg="interrupted: the connection to this host was closed")
    except (OSError, Trouble) as error:
        module.fail_json(msg=f"the version of the database cannot be told: {error}")
    if reason := refusal(module.params["service"], running, image):
        module.fail_json(msg=reason, canary_failure={"message": reason, "hint": HINT})
    module.exit_json(changed=False, running=running, image=image)


def look(wanted: dict) -> tuple[int, list[int]]:
    container = find_container(wanted["project"], wanted["service"])
    if container is None:
        return 0, []
    image = image_of(wanted)
    code, out, _ = run(["docker", "image", "inspect", "--format", "{{.Id}}", image], 60)
    if code or out.strip() == container["Image"]:
        return 0, []  # the image it has already, or one that is not here to start
    major = size_of(connect(container, wanted["user"], "postgres")).version // 10000
    return major, majors_of_image(image)


def image_of(wanted: dict) -> str:
    """The image that the release gives the service."""
    base = compose(wanted["project"], wanted["directory"], wanted["env_file"])
    code, out, err = run([*base, "config", "--format", "json"], 60)
    if code:
        raise OSError(complaint(err))
    return str(json.loads(out)["services"].get(wanted["service"], {}).get("image", ""))


def refusal(service: str, running: int, image: list[int]) -> str:
    """Why the release cannot have the data, or ''; where either version is not known, nothing is said."""
    if not running or not image or running in image:
        return ""
    offered = " and ".join(map(str, image))
    return f"{service} runs PostgreSQL {running}, the release's image has {offered}, which cannot open its data"


if __name__ == "__main__":
    main()
