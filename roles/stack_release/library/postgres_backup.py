#!/usr/bin/python
"""Back a PostgreSQL database up before its schema changes."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.module_utils.backups import prune, take
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.compose_cli import Abandoned
from ansible.module_utils.postgres import Trouble, connect, find_container, size_of

DOCUMENTATION = r"""
---
module: postgres_backup
short_description: Back a PostgreSQL database up before its schema changes
description:
  - Dumps the database of a compose service in custom format, proves that the dump restores by restoring it into a
    database of its own, and keeps it under C(backups) of the stack's directory with a JSON document beside it.
  - A service that does not run, or a database without tables, is not backed up; the result says so.
options:
  root:
    description: Directory of the stack on the host.
    type: path
    required: true
  project:
    description: Name of the compose project.
    type: str
    required: true
  service:
    description: The service that runs the database.
    type: str
    required: true
  environment:
    description: Name of the environment; begins the file's name.
    type: str
    required: true
  host:
    description: What the document calls this host.
    type: str
    required: true
  database:
    description: Name of the database; found out where empty.
    type: str
    default: ""
  user:
    description: A superuser of the server; found out where empty.
    type: str
    default: ""
  keep:
    description: How many backups of the environment stay.
    type: int
    default: 5
  required:
    description: Whether a database that does not run is a failure.
    type: bool
    default: false
author: canaryctl
"""

EXAMPLES = r"""
- name: Back the database up
  postgres_backup:
    root: /opt/canaryctl/shop
    project: shop-canary
    service: db
    environment: canary
    host: canary-1
"""

RETURN = r"""
looked:
  description: Whether a running database was found.
  returned: always
  type: bool
backup:
  description: The backup's document, null where none was made.
  returned: always
  type: dict
note:
  description: Why none was made.
  returned: always
  type: str
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "project": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "environment": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "database": {"type": "str", "default": ""},
            "user": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 5},
            "required": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, looked=True, backup=None, note="not made in check mode")
    os.umask(0o077)
    try:
        module.exit_json(**back_up(module.params))
    except Abandoned:
        module.fail_json(msg="interrupted: no backup was made", looked=False, backup=None, note="")
    except Trouble as trouble:
        module.fail_json(msg=trouble.what, canary_failure={"message": trouble.what, "hint": trouble.hint}, backup=None)
    except OSError as error:
        module.fail_json(msg=f"no backup could be made: {error}", backup=None)


def back_up(wanted: dict) -> dict:
    root = Path(wanted["root"])
    container = find_container(wanted["project"], wanted["service"])
    if container is None:
        if wanted["required"]:
            raise Trouble(f"{wanted['service']} does not run, so that it cannot be backed up")
        return {"changed": False, "looked": False, "backup": None, "note": f"{wanted['service']} does not run"}
    server = connect(container, wanted["user"], wanted["database"])
    if not size_of(server).tables:
        note = f"no backup of {server.database}: it has no tables yet"
        return {"changed": False, "looked": True, "backup": None, "note": note}
    backup = take(server, wanted)
    gone = prune(root, wanted["environment"], wanted["keep"])
    return {"changed": True, "looked": True, "backup": backup, "note": "", "pruned": gone}


if __name__ == "__main__":
    main()
