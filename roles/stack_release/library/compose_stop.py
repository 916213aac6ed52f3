#!/usr/bin/python
"""Stop a compose project's services, all but some."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.compose_cli import Abandoned, complaint, fault_of, inspect, run, service_of
from ansible.module_utils.locked import LOCKS, require_held
from ansible.module_utils.stopping import drain_of

DOCUMENTATION = r"""
---
module: compose_stop
short_description: Stop a compose project's services, all but some
description:
  - Every container gets its signal and its grace period; containers stay, so that they can be started again.
options:
  project:
    description: Name of the compose project.
    type: str
    required: true
  leave:
    description: Services that go on.
    type: list
    elements: str
    default: []
  locks: {description: Locks that must be held (see M(lock_held))., type: list, elements: dict, default: []}
author: canaryctl
"""

EXAMPLES = r"""
- name: Stop what writes to the database
  compose_stop:
    project: shop-canary
    leave: [db]
"""

RETURN = r"""
stopped:
  description: Services that were stopped.
  returned: success
  type: list
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "leave": {"type": "list", "elements": "str", "default": []},
            "locks": LOCKS,
        },
        supports_check_mode=True,
    )
    require_held(module)
    try:
        running = [c for c in inspect(module.params["project"]) if c["State"]["Running"]]
        leaving = [c for c in running if service_of(c) not in module.params["leave"]]
        stopping = {c["Id"]: service_of(c) for c in leaving}
        if stopping and not module.check_mode:
            code, _, err = run(["docker", "stop", *stopping], 600 + drain_of(leaving))
            if code:
                module.fail_json(msg=f"the services could not be stopped: {complaint(err)}")
    except Abandoned:
        module.fail_json(msg="interrupted: the connection to this host was closed")
    except OSError as error:
        module.fail_json(msg=fault_of(error))
    module.exit_json(changed=bool(stopping), stopped=sorted(stopping.values()))


if __name__ == "__main__":
    main()
