#!/usr/bin/python
"""Remove what a failed first release created, by recorded id, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.change import CHANGE_FILE
from ansible.module_utils.compose_cli import Abandoned, complaint, hangs, run
from ansible.module_utils.installed import read_release, written_by_others
from ansible.module_utils.locked import LOCKS, require_held
from ansible.module_utils.settle import forget

DOCUMENTATION = r"""
---
module: release_undo
short_description: Remove what a failed first release created
description:
  - Removes containers by id, volumes by name and files below the stack's directory, as they were recorded, then the
    project's networks that nothing uses any more. What is gone already is left out of the answer.
  - A release in which somebody has written stays, and no link is followed.
options:
  root:
    description: Directory of the stack on the host.
    type: path
    required: true
  project:
    description: Name of the compose project.
    type: str
    required: true
  containers:
    description: Ids of containers.
    type: list
    elements: str
    default: []
  volumes:
    description: Names of volumes.
    type: list
    elements: str
    default: []
  files:
    description: Files and directories, relative to I(root).
    type: list
    elements: str
    default: []
  locks: {description: Locks that must be held (see M(lock_held))., type: list, elements: dict, default: []}
author: canaryctl
"""

EXAMPLES = r"""
- name: Remove what the release created
  release_undo:
    root: /opt/canaryctl/shop
    project: shop-canary
    containers: [4f1c9a2b0d3e]
    volumes: [shop-canary_data]
    files: [current, releases/4f1c-9a2b]
"""

RETURN = r"""
canary_kept:
  description: Files that somebody wrote, for whose sake their release stays.
  returned: always
  type: list
removed:
  description: What was removed, in words.
  returned: always
  type: list
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "project": {"type": "str", "required": True},
            "containers": {"type": "list", "elements": "str", "default": []},
            "volumes": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "list", "elements": "str", "default": []},
            "locks": LOCKS,
        },
        supports_check_mode=True,
    )
    require_held(module)
    wanted = module.params
    root = Path(wanted["root"])
    outside = [name for name in wanted["files"] if name.startswith("/") or ".." in name.split("/") or not name]
    if outside:
        module.fail_json(msg=f"'{outside[0]}' does not lie below {root}")
    if module.check_mode:
        module.exit_json(changed=True, removed=[], canary_kept=[])
    removed, faults, kept = [], [], []
    try:
        end_change(root)
        remove("container", ["rm", "--force"], wanted["containers"], removed, faults)
        remove("network", ["network", "rm"], networks(wanted["project"]), removed, faults)
        remove("volume", ["volume", "rm"], wanted["volumes"], removed, faults)
        for name in wanted["files"]:
            written = changed_files(root / name)
            kept += [f"{name}/{path}" for path in written]
            if not written and unlink(root, name):
                removed.append(name)
    except Abandoned:
        module.fail_json(msg="interrupted: the connection to this host was closed")
    except OSError as error:
        faults.append(str(error))
    if faults:
        module.fail_json(msg="; ".join(faults), removed=removed, changed=bool(removed), canary_kept=kept)
    module.exit_json(changed=bool(removed), removed=removed, canary_kept=kept)


def end_change(root: Path) -> None:
    """There is nothing that the keeper of the stack could bring back."""
    if root.is_dir():
        forget(str(root / CHANGE_FILE))
        shutil.rmtree(root / ".keeper", ignore_errors=True)


def changed_files(directory: Path) -> list[str]:
    """Some of the paths in a release's directory that somebody has written; none where it is no directory."""
    if directory.is_symlink() or not directory.is_dir():
        return []
    return written_by_others(str(directory), read_release(str(directory)))[:5]


def remove(kind: str, command: list[str], names: list[str], removed: list[str], faults: list[str]) -> None:
    for name in names:
        code, _, err = run(["docker", *command, name], 120)
        if code == 124 and hangs():
            raise OSError(f"Docker does not answer: {complaint(err)}")  # as it would not for each of the others
        if code == 0:
            removed.append(f"{kind} {name}")
        elif "no such" not in err.lower():
            faults.append(f"{kind} {name} could not be removed: {complaint(err)}")


def networks(project: str) -> list[str]:
    """The project's networks that no container is in."""
    listing = ["docker", "network", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={project}"]
    code, out, _ = run(listing, 60)
    unused = []
    for network in out.split() if code == 0 else []:
        code, users, _ = run(["docker", "ps", "--all", "--quiet", "--filter", f"network={network}"], 60)
        if code == 0 and not users.strip():
            unused.append(network)
    return unused


def unlink(root: Path, name: str) -> bool:
    """Remove what lies below the stack's directory; a link on the way to it would lead out."""
    path = root / name
    if path.parent.exists() and path.parent.resolve() != root.resolve() / Path(name).parent:
        raise OSError(f"{path} was not removed: {path.parent} is a link")
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return True
    if path.exists() or path.is_symlink():
        path.unlink()
        return True
    return False


if __name__ == "__main__":
    main()
