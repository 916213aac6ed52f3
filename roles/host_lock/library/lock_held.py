#!/usr/bin/python
"""Fail unless locks are held by their owner."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: lock_held
short_description: Fail unless locks are still held
description:
  - Reads holder.json in each lock's directory and fails where it names another owner. Changes nothing.
options:
  locks:
    description: The locks.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Directory of the lock.
        type: path
        required: true
      owner:
        description: SHA-256 of the token that its holder has, in hex. No secret.
        type: str
        required: true
author: canaryctl
"""

EXAMPLES = r"""
- name: The run still holds the lock
  lock_held:
    locks: [{path: /opt/canaryctl/shop/lock, owner: 0f3a}]
"""


def held_by(path: str) -> dict[str, object] | None:
    """What holder.json says, None where there is no lock."""
    try:
        holder = json.loads((Path(path) / "holder.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def main() -> None:
    lock = {"path": {"type": "path", "required": True}, "owner": {"type": "str", "required": True}}
    spec = {"locks": {"type": "list", "elements": "dict", "required": True, "options": lock}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    for lock in module.params["locks"]:
        holder = held_by(lock["path"])
        if holder is None or holder.get("owner") != lock["owner"]:
            kept = ("token", "owner")
            now = None if holder is None else {key: value for key, value in holder.items() if key not in kept}
            module.fail_json(
                msg=f"the lock {lock['path']} is not held by this run any more", canary_failure={"lost": now}
            )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
