"""Locks that the run must still hold at the moment a module begins to change a host. Python 3.8, standard library.

Asked by the module itself, so that nothing lies between the look and the change.
"""

from __future__ import annotations

from ansible.module_utils.held import LockLost, require_locks

LOCKS = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {"path": {"type": "path", "required": True}, "owner": {"type": "str", "required": True}},
}


def require_held(module) -> None:
    """Fail the module unless each of its locks has the owner it should have."""
    try:
        require_locks(module.params["locks"])
    except LockLost as lost:
        module.fail_json(msg=str(lost), canary_failure={"lost": lost.holder})
