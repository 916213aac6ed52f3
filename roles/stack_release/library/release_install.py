#!/usr/bin/python
"""Install a rendered release, checked by compose before anything is replaced."""

from __future__ import annotations

import base64
import errno
import io
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.compose_cli import Abandoned, complaint, compose, run
from ansible.module_utils.installed import hash_files
from ansible.module_utils.locked import LOCKS, require_held
from ansible.module_utils.started import remember_healed

DOCUMENTATION = r"""
---
module: release_install
short_description: Install a rendered release and its secrets
description:
  - Unpacks the release beside the others, lets compose validate it with its secrets, and only then puts both in place.
  - A release that is there already with the same content is left alone; one that differs is fixed in place, so that
    directories mounted into containers stay the same. What is replaced there stays beside it as
    C(NAME.drifted-TIME); files that are not of the release are left alone.
  - The action plugin of the same name packs I(source) and reads I(secrets_source) on the machine that runs Ansible.
options:
  source:
    description: Local directory with compose.yml and whatever else belongs to the release.
    type: path
  secrets_source:
    description: Local env file with the secrets; they are left as they are on the host where empty.
    type: path
    default: ""
  archive:
    description: The packed release in base64, given by the action plugin.
    type: str
  archive_path:
    description: The packed release on the host, given by the action plugin where it is big.
    type: path
  secrets:
    description: Content of the env file, given by the action plugin.
    type: str
  root:
    description: Directory of the stack on the host.
    type: path
    required: true
  release:
    description: Name of the release's directory.
    type: str
    required: true
  project:
    description: Name of the compose project.
    type: str
    required: true
  locks: {description: Locks that must be held (see M(lock_held))., type: list, elements: dict, default: []}
author: canaryctl
"""

EXAMPLES = r"""
- name: Install the release
  release_install:
    source: /tmp/rendered/canary-1
    secrets_source: /tmp/rendered/secrets.env
    root: /opt/canaryctl/shop
    release: 4f1c-9a2b
    project: shop-canary
"""

RETURN = r"""
files:
  description: Paths that are new, changed or gone, compared with the release in use.
  returned: always
  type: dict
canary_kept:
  description: Paths of what was replaced in a release that is there already, where it is now.
  returned: always
  type: list
secrets_changed:
  description: Whether the secrets differ from those on the host.
  returned: always
  type: bool
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "str", "no_log": True},
            "archive_path": {"type": "path"},
            "secrets": {"type": "str", "no_log": True},
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "project": {"type": "str", "required": True},
            "locks": LOCKS,
        },
        required_one_of=[("archive", "archive_path")],
        supports_check_mode=True,
    )
    require_held(module)
    os.umask(0o022)
    root = Path(module.params["root"])
    try:
        if not module.check_mode:
            (root / "releases").mkdir(parents=True, exist_ok=True)
        with Workplace(root, module.params["release"], temporary=module.check_mode) as place:
            result = install(module, root, place)
    except Abandoned:
        module.fail_json(msg="interrupted: the connection to this host was closed")
    except (OSError, tarfile.TarError) as error:
        hint = "; free some space there" if getattr(error, "errno", 0) == errno.ENOSPC else ""
        module.fail_json(msg=f"the release could not be written below {root}: {error}{hint}")
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


class Workplace:
    """Where the release is unpacked and its secrets are written until both are known to be good.

    A temporary one leaves no trace on the host, for check mode.
    """

    def __init__(self, root: Path, release: str, temporary: bool) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="canaryctl-")) if temporary else None
        self.tree = (self.scratch or root / "releases") / f".{release}.partial"
        self.secrets = (self.scratch or root) / ".secrets.env.partial"

    def __enter__(self) -> Workplace:
        self._clear()
        self.tree.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        if self.scratch:
            self.scratch.rmdir()

    def _clear(self) -> None:
        shutil.rmtree(self.tree, ignore_errors=True)
        if self.secrets.exists():
            self.secrets.unlink()


def install(module: AnsibleModule, root: Path, place: Workplace) -> dict:
    unpack(module, place.tree)
    secrets_file = root / "secrets.env"
    secrets_changed = bool(module.params["secrets"]) and module.params["secrets"] != read(secrets_file)
    if secrets_changed:
        write_private(place.secrets, module.params["secrets"])
    env_file = place.secrets if secrets_changed else secrets_file
    argv = [*compose(module.params["project"], str(place.tree), str(env_file)), "config", "--quiet"]
    code, _, err = run(argv, 60)
    if code:
        # compose names the file by the path it has for a moment; the operator knows it by its release.
        reason = complaint(err).replace(f"{place.tree}/", "")
        return {"failed": True, "msg": f"compose rejects the rendered compose.yml: {reason}", "rc": code}

    target, current = root / "releases" / module.params["release"], root / "current"
    wanted, installed, in_use = (hash_files(str(path)) for path in (place.tree, target, current))
    differs = [path for path in sorted(wanted) if wanted[path] != installed.get(path)]
    result = {
        "changed": bool(differs) or secrets_changed,
        "canary_kept": [],
        "secrets_changed": secrets_changed,
        "files": {
            "new": sorted(wanted.keys() - in_use.keys()),
            "changed": sorted(p for p in wanted.keys() & in_use.keys() if wanted[p] != in_use[p]),
            "gone": sorted(in_use.keys() - wanted.keys()) if target.resolve() != current.resolve() else [],
        },
    }
    if module._diff:
        result["diff"] = differences(current, in_use, place.tree, wanted)
    if not module.check_mode:
        if not target.is_dir():
            place.tree.rename(target)
        elif differs:
            remember_healed(root, differs)  # first: cut off in between, the next start still knows
            result["canary_kept"] = fix(place.tree, differs, target, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        if secrets_changed:
            place.secrets.replace(secrets_file)
    return result


def unpack(module: AnsibleModule, directory: Path) -> None:
    sent = module.params["archive_path"]
    packed = Path(sent).read_bytes() if sent else base64.b64decode(module.params["archive"])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive.getmembers():
            inside = not member.name.startswith("/") and ".." not in member.name.split("/")
            if not inside or not (member.isreg() or member.isdir()):
                raise tarfile.TarError(f"'{member.name}' is no plain file below the release")
        archive.extractall(directory)  # noqa: S202  checked above


def fix(source: Path, differs: list[str], target: Path, moment: str) -> list[str]:
    """Put files back where they differ; whatever is in their way is kept beside them. Returns what was kept, and where.

    No link is followed: one in the place of a folder would lead out of the release.
    """
    kept = []
    for path in differs:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            place = target.joinpath(*parts[:depth])
            last = depth == len(parts)
            if os.path.lexists(place) and (last or place.is_symlink() or not place.is_dir()):
                kept.append(str(set_aside(place, moment).relative_to(target)))
            if not last and not place.is_dir():
                place.mkdir()
        (source / path).replace(target / path)
    return kept


def set_aside(place: Path, moment: str) -> Path:
    """Rename what somebody wrote so that nothing else is overwritten; its new path."""
    beside, number = place.with_name(f"{place.name}.drifted-{moment}"), 1
    while os.path.lexists(beside):
        number += 1
        beside = place.with_name(f"{place.name}.drifted-{moment}-{number}")
    place.rename(beside)
    return beside


def differences(current: Path, in_use: dict[str, str], new: Path, wanted: dict[str, str]) -> list[dict[str, str]]:
    """The compose file as a diff, and the other files by their hashes."""
    before, after = read(current / "compose.yml"), read(new / "compose.yml")
    shown = []
    if before != after:
        name = str(current.resolve() / "compose.yml") if before else "nothing"
        shown.append({"before": before, "after": after, "before_header": name, "after_header": "compose.yml"})
    others = [
        "".join(f"{at[path][:12]}  {path}\n" for path in sorted(at) if path not in ("compose.yml", "release.json"))
        for at in (in_use, wanted)
    ]
    if others[0] != others[1]:
        shown.append({"before": others[0], "after": others[1], "before_header": "assets", "after_header": "assets"})
    return shown


def read(path: Path) -> str:
    # Not as text: a value may hold a carriage return, which must survive and compare.
    return path.read_bytes().decode() if path.exists() else ""


def write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(text.encode())


if __name__ == "__main__":
    main()
