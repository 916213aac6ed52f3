"""The files of an installed release, and which of them others wrote. Python 3.8, standard library."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

LARGEST = 64 << 20  # bytes; no file of a release is as big


def digests(directory: Path) -> dict[str, str]:
    """sha256 of every file below a directory, by relative path; empty where there is none. No link is followed."""
    found = {}
    for parent, folders, names in os.walk(directory):
        for name in [*names, *(folder for folder in folders if (Path(parent) / folder).is_symlink())]:
            path = Path(parent) / name
            found[str(path.relative_to(directory))] = digest(path)
    return found


def digest(path: Path) -> str:
    """The sha256 of a plain file; what is none differs from every file of a release, and may not even be readable."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return "no file"
    if status.st_size > LARGEST:
        return "too big"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def others_files(directory: Path) -> list[str]:
    """Some of the paths in a release's directory that are not as they were installed; none where it is no directory.

    Its name ends with a digest of its environment and files: see canaryctl/plan/rendering.py.
    """
    if directory.is_symlink() or not directory.is_dir():
        return []
    files = digests(directory)
    files.pop("release.json", None)
    if not files:
        return []
    try:
        release = json.loads((directory / "release.json").read_text(encoding="utf-8"))
        known = {f"assets/{path}": value for path, value in release["files"].items()}
        said = {"environment": release["environment"], **files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return sorted(files)[:5]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8] == directory.name.rpartition("-")[2]:
        return []
    odd = sorted(path for path in files if path != "compose.yml" and known.get(path) != files[path])
    return odd[:5] or ["compose.yml"]
