#!/usr/bin/python
"""Stop a compose project's services and remove their containers."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.compose_cli import Abandoned, fault_of, inspect
from ansible.module_utils.locked import LOCKS, require_held
from ansible.module_utils.stopping import drain_of, take_down

DOCUMENTATION = r"""
---
module: compose_down
short_description: Stop a compose project's services and remove their containers
description:
  - As C(docker compose down --remove-orphans). Every container gets its signal and its grace period, however long; what
    does not end after that is given up, and the module fails.
options:
  project:
    description: Name of the compose project.
    type: str
    required: true
  volumes:
    description: Remove its volumes, too.
    type: bool
    default: false
  locks: {description: Locks that must be held (see M(lock_held))., type: list, elements: dict, default: []}
author: canaryctl
"""

EXAMPLES = r"""
- name: Stop the services
  compose_down:
    project: shop-canary
"""

RETURN = r"""
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "volumes": {"type": "bool", "default": False},
            "locks": LOCKS,
        },
        supports_check_mode=True,
    )
    require_held(module)
    project = module.params["project"]
    try:
        containers = inspect(project)
        if module.check_mode:
            module.exit_json(changed=bool(containers))
        removed, fault = take_down(project, drain_of(containers), volumes=module.params["volumes"])
    except Abandoned:
        module.fail_json(msg="interrupted: the connection to this host was closed")
    except OSError as error:
        module.fail_json(msg=fault_of(error))
    if fault:
        module.fail_json(msg=f"{project} does not stop: {fault}", changed=removed)
    module.exit_json(changed=removed)


if __name__ == "__main__":
    main()
