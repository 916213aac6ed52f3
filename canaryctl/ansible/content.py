"""Where the Ansible content is: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from canaryctl.errors import ApplyError

_PACKAGE = Path(__file__).resolve().parents[1]


def content_root() -> Path:
    """The directory that holds `playbooks/` and `roles/`.

    Raises:
        ApplyError: the installation is incomplete.
    """
    for root in (_PACKAGE.parent, _PACKAGE / "_ansible"):
        if (root / "playbooks" / "provision.yml").is_file() and (root / "roles").is_dir():
            return root
    raise ApplyError("the playbooks are missing from this installation", str(_PACKAGE), "install canaryctl again")


def playbook(stage: str) -> Path:
    """The playbook of a stage.

    Raises:
        ApplyError: there is none.
    """
    path = content_root() / "playbooks" / f"{stage}.yml"
    if not path.is_file():
        raise ApplyError(f"there is no playbook for the stage '{stage}'", str(path.parent), "install canaryctl again")
    return path
