"""Variables as Ansible reads them: data, never templates.

Ansible templates extra variables, lookups included, on this machine. What they hold comes from hosts and from stacks of
others as well, so every string is marked as unsafe, which to Ansible means: use it as it is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from canaryctl.config.pins import TEMPLATES
from canaryctl.errors import ApplyError

# Ansible's own mark in JSON. YAML's `!unsafe` would turn the string '123' into a number.
_MARK = "__ansible_unsafe"


def variables_file(extravars: Mapping[str, Any]) -> str:
    """The text of a file for `ansible-playbook -e @FILE`: JSON in which every string but our own templates is marked.

    Keys need no mark, Ansible never templates them.

    Raises:
        ApplyError: a key is one of Ansible's marks, or the values are no JSON.
    """
    for key in extravars:
        _require_plain(key, "extravars")
    marked = {key: value if key in TEMPLATES else _marked(value, key) for key, value in extravars.items()}
    # Where Ansible cannot read a file as JSON it tries YAML, which would take the marks for data and the strings for
    # templates. YAML refuses tabs.
    try:
        return json.dumps(marked, indent="\t") + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ApplyError(f"the variables for Ansible cannot be written: {error}", "extravars") from None


def _marked(value: Any, where: str) -> Any:
    if isinstance(value, str):
        return {_MARK: _encodable(value)}
    if isinstance(value, Mapping):
        for key in value:
            _require_plain(key, where)
        return {_encodable(str(key)): _marked(item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked(item, where) for item in value]
    return value


def _require_plain(key: Any, where: str) -> None:
    if str(key).startswith("__ansible"):
        raise ApplyError(f"the name {str(key)[:40]!r} would mean something to Ansible", where)


def _encodable(text: str) -> str:
    """`text` with `?` for halves of characters, on which Ansible's JSON reader gives up."""
    return text.encode("utf-8", "replace").decode()
