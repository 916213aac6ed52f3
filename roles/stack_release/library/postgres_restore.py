#!/usr/bin/python
"""Put a backup in the place of a PostgreSQL database."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ansible.module_utils.backups import BEFORE_RESTORE, digest, prune, read_json, take
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.compose_cli import Abandoned, complaint, inspect, run, service_of
from ansible.module_utils.locked import LOCKS, require_held
from ansible.module_utils.postgres import (
    RESTORE,
    Server,
    Trouble,
    connect,
    drop,
    end_connections,
    find_container,
    insist,
    query,
    quote,
    restore_into,
    size_of,
)

DOCUMENTATION = r"""
---
module: postgres_restore
short_description: Put a backup in the place of a PostgreSQL database
description:
  - Dumps the present state first, restores the backup into a new database, and only when that is whole gives it the
    old one's name. Whatever fails before leaves the database as it was.
  - The services that write must have been stopped; connections that are left are ended.
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
    description: The service that runs the database; its container is started where it is stopped.
    type: str
    required: true
  environment:
    description: Name of the environment.
    type: str
    required: true
  host:
    description: What documents call this host.
    type: str
    required: true
  name:
    description: File name of the dump, in C(backups) of the stack's directory.
    type: str
    required: true
  user:
    description: A superuser of the server; found out where empty.
    type: str
    default: ""
  keep:
    description: How many backups of the environment stay.
    type: int
    default: 5
  locks: {description: Locks that must be held (see M(lock_held))., type: list, elements: dict, default: []}
author: canaryctl
"""

EXAMPLES = r"""
- name: Restore
  postgres_restore:
    root: /opt/canaryctl/shop
    project: shop-canary
    service: db
    environment: canary
    host: canary-1
    name: canary-20260101T120000Z-4f1c9a2b0000.dump
"""

RETURN = r"""
backup:
  description: The document of the backup that was restored.
  returned: success
  type: dict
before:
  description: The document of the dump of the state before.
  returned: success
  type: dict
until:
  description: The time up to which writes are lost.
  returned: success
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
            "name": {"type": "str", "required": True},
            "user": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 5},
            "locks": LOCKS,
        },
        supports_check_mode=True,
    )
    require_held(module)
    if module.check_mode:
        module.exit_json(changed=True, backup=None, before=None, until="")
    os.umask(0o077)
    try:
        module.exit_json(changed=True, **bring_back(module.params))
    except Abandoned:
        module.fail_json(msg="interrupted: the database is as it was")
    except Trouble as trouble:
        module.fail_json(msg=trouble.what, canary_failure={"message": trouble.what, "hint": trouble.hint})
    except OSError as error:
        module.fail_json(msg=f"the backup could not be restored: {error}")


def bring_back(wanted: dict) -> dict:
    root = Path(wanted["root"])
    path = root / "backups" / wanted["name"]
    backup = whole(path)
    server = connect(running(wanted), wanted["user"], backup["database"])
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    before = take(server, wanted, BEFORE_RESTORE)
    scratch = RESTORE + os.urandom(4).hex()
    try:
        restore_into(server, path, scratch, properties=True)
        found = size_of(server, scratch).tables
        if found != backup["tables"]:
            raise Trouble(f"it restores to {found} tables, there were {backup['tables']}")
        swap(server, scratch)
    except Trouble as fault:
        drop(server, scratch)
        raise Trouble(f"{path} was not restored, the database is as it was: {fault.what}", fault.hint) from None
    prune(root, wanted["environment"], max(wanted["keep"], 2))
    return {"backup": backup, "before": before, "until": until}


def whole(path: Path) -> dict:
    """The document of a backup whose file is the one that was made. Raises Trouble."""
    backup = read_json(path.with_suffix(".json"))
    if backup is None or not path.is_file():
        raise Trouble(f"there is no backup {path}", "look at what is in that directory")
    if digest(path) != backup["sha256"]:
        raise Trouble(f"{path} is not the file that was made: its sha256 differs", "choose another backup")
    return backup


def running(wanted: dict) -> dict:
    """The database's container; one that is stopped is started. Raises Trouble where there is none."""
    container = find_container(wanted["project"], wanted["service"])
    if container is not None:
        return container
    stopped = [c for c in inspect(wanted["project"]) if service_of(c) == wanted["service"]]
    if not stopped:
        raise Trouble(f"{wanted['service']} has no container here", "deploy first; the restore goes into what runs")
    code, _, err = run(["docker", "start", stopped[0]["Id"]], 60)
    if code:
        raise Trouble(f"{wanted['service']} could not be started: {complaint(err)}")
    return stopped[0]


def swap(server: Server, scratch: str) -> None:
    """Give a restored database the name of the stack's, and remove that one: its dump has been proven by now."""
    name, old = server.database, RESTORE + os.urandom(4).hex()
    allow = f"ALTER DATABASE {quote(name)} ALLOW_CONNECTIONS "
    query(server, allow + "false", database="template1")
    try:
        # A name is free once the last connection has gone; ending one takes the server a moment.
        deadline = time.monotonic() + 30
        while query(server, end_connections(name), database="template1") and time.monotonic() < deadline:
            time.sleep(0.2)
        query(
            server,
            f"ALTER DATABASE {quote(name)} RENAME TO {quote(old)}",
            f"ALTER DATABASE {quote(scratch)} RENAME TO {quote(name)}",
            database="template1",
        )
    except BaseException:
        insist(server, allow + "true")
        raise
    drop(server, old)


if __name__ == "__main__":
    main()
