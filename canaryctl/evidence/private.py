"""Who may read the evidence: its owner alone, and one group besides where the environment names one.

What a run writes has the access of the directory it is written into, so only a run's first directory needs to be told.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from canaryctl.errors import ConfigError

_GROUP_READS = 0o040


def make_private(path: Path, group: int | None = None) -> None:
    """Make a directory, and those above it that are missing: 0700, or 2750 with that group, whatever the umask.

    Raises:
        ConfigError: the operator may not give files to the group.
        OSError: the directory is there (FileExistsError), or cannot be made.
    """
    if not path.parent.exists():
        with contextlib.suppress(FileExistsError):  # another run was faster
            make_private(path.parent, group)
    path.mkdir(mode=0o700)
    if group is None:
        path.chmod(0o700)  # a parent's setgid bit is not passed on: this group is not ours to give access to
        return
    try:
        os.chown(path, -1, group)
    except OSError as error:
        path.rmdir()
        raise ConfigError(
            f"the evidence cannot be given to the group {group} (canary_evidence_group): {error.strerror or error}",
            str(path),
            "name a group that you are a member of (`id -nG` lists them), or leave the variable out",
        ) from None
    path.chmod(0o2750)


def make_below(path: Path) -> None:
    """Make a directory inside a run's, with its parents and for the same readers; one that is there stays as it is."""
    if path.is_dir():
        return
    make_below(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o2750 if path.parent.stat().st_mode & _GROUP_READS else 0o700)


def file_mode(directory: Path) -> int:
    """The mode of a file in a run's directory: 0600, or 0640 where its group may read."""
    return 0o600 | (directory.stat().st_mode & _GROUP_READS)


def close_to_others(directory: Path) -> None:
    """Give all that is below a run's directory its access: other programs (Ansible) write with the umask's modes."""
    readable = directory.stat().st_mode & _GROUP_READS
    for folder, folders, files in os.walk(directory):
        for name in folders:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o2750 if readable else 0o700)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o600 | readable)
