#!/usr/bin/python
"""Fail unless locks are held by their owner."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.held import LockLost, require_locks

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


def main() -> None:
    lock = {"path": {"type": "path", "required": True}, "owner": {"type": "str", "required": True}}
    spec = {"locks": {"type": "list", "elements": "dict", "required": True, "options": lock}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        require_locks(module.params["locks"])
    except LockLost as lost:
        module.fail_json(msg=str(lost), canary_failure={"lost": lost.holder})
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
