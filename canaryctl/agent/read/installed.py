"""The files of an installed release, and which of them others wrote.

The name of a release's directory ends with a digest of its environment and files, release.json apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from .regular import open_regular

LARGEST = 64 << 20  # bytes; no file of a release is as big


def hash_files(directory: str) -> dict[str, str]:
    """sha256 of every file below a directory by relative path; empty where there is none. No link is followed."""
    found = {}
    for parent, folders, names in os.walk(directory):
        for name in names + [folder for folder in folders if os.path.islink(os.path.join(parent, folder))]:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, directory)] = hash_file(path)
    return found


def hash_file(path: str) -> str:
    """The sha256 of a plain file; what is none differs from every file of a release."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "link:" + os.readlink(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
        return "other:" + str(status.st_size)  # a pipe would not even let itself be opened
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def read_release(directory: str) -> dict[str, Any] | None:
    """release.json of a release's directory; None where it cannot be read."""
    try:
        with open_regular(os.path.join(directory, "release.json")) as file:
            document = json.loads(file.read(LARGEST).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def rendering_suffix(environment: str | None, hashes: Mapping[str, str]) -> str:
    """The end of a release directory's name: 8 hex digits over the environment and its files, release.json apart."""
    kept = {path: digest for path, digest in hashes.items() if path != "release.json"}
    text = json.dumps({"environment": environment, **kept}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def written_by_others(directory: str, release: Mapping[str, Any] | None) -> list[str]:
    """Paths in a release's directory that are not as they were installed.

    Args:
        release: its release.json, None where that cannot be read.
    """
    files = hash_files(directory)
    if release is None:
        return sorted(files)
    files.pop("release.json", None)
    if not files or rendering_suffix(release.get("environment"), files) == directory.rpartition("-")[2]:
        return []
    known = release.get("files")
    installed = {"assets/" + path: digest for path, digest in known.items()} if isinstance(known, dict) else {}
    odd = sorted(path for path, digest in files.items() if path != "compose.yml" and installed.get(path) != digest)
    return odd or ["compose.yml"]
