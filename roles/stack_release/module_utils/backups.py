"""Backups of a database as files of a host: a dump, and beside it a JSON document that says what it is."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import BinaryIO

from ansible.module_utils.atomic import write_atomic
from ansible.module_utils.postgres import (
    VERIFY,
    Server,
    Trouble,
    data_room,
    drop,
    drop_leftovers,
    dump,
    lacking,
    restore_into,
    size_of,
)

BEFORE_RESTORE = "-before-restore"
_TIME = re.compile(r"-(\d{8}T\d{6}Z)-")


# What a module is told that a backup's document says too.
_TOLD = ("environment", "project", "service", "host")


def take(server: Server, wanted: dict, suffix: str = "") -> dict:
    """Dump the database to backups/ of the stack's directory and prove that the dump restores; its document says what
    it is. The database's revision is not known yet.

    wanted: the module's `root`, `environment`, `project`, `service` and `host`.

    Raises:
        Trouble: no room, or the dump fails or does not restore; no file is left.
    """
    root = Path(wanted["root"])
    directory = root / "backups"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    drop_leftovers(server)
    size = size_of(server)
    disk = os.statvfs(directory)
    room = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    if lack := lacking(size.bytes, room, data_room(server)):
        raise Trouble(f"no room for a backup: {lack}", f"free space there ({directory}), then run this again")
    began, taken = time.monotonic(), time.gmtime()
    release = served_release(root)
    name = f"{wanted['environment']}-{time.strftime('%Y%m%dT%H%M%SZ', taken)}-{(release or 'none')[:12]}{suffix}.dump"
    partial = directory / f".{name}.partial"
    try:
        with private(partial) as sink:
            dump(server, sink)
            sink.flush()
            os.fsync(sink.fileno())
        verify(server, partial, size.tables)
        document = {
            **{key: wanted[key] for key in _TOLD},
            "from_release": release,
            "marker": read_json(root / "migrated.json"),
            "revision": None,
            "name": name,
            "path": str(directory / name),
            "bytes": partial.stat().st_size,
            "sha256": digest(partial),
            "seconds": round(time.monotonic() - began, 3),
            "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", taken),
            "database": server.database,
            "tables": size.tables,
            "server_version": size.version,
        }
        partial.replace(directory / name)
    finally:
        if partial.exists():
            partial.unlink()
    write(directory / f"{name[:-5]}.json", document)
    return document


def verify(server: Server, dump_file: Path, tables: int) -> None:
    """Restore a dump into a database of its own, which is gone afterwards.

    Raises:
        Trouble: it does not restore, or not to as many tables.
    """
    scratch = VERIFY + os.urandom(4).hex()
    hint = "fix what does not restore (the message names it); no schema is changed without a backup that restores"
    try:
        restore_into(server, dump_file, scratch)
        found = size_of(server, scratch).tables
        if found != tables:
            raise Trouble(f"it restores to {found} tables, the database has {tables}")
    except Trouble as fault:
        raise Trouble(f"the backup of {server.database} does not restore: {fault.what}", hint) from None
    finally:
        drop(server, scratch)


def prunable(names: list[str], environment: str, keep: int) -> list[str]:
    """Which dumps of an environment go: all but the newest `keep`. Others' files are never named."""
    own = [n for n in names if n.endswith(".dump") and (m := _TIME.search(n)) and n[: m.start()] == environment]
    own.sort(key=lambda name: _TIME.search(name)[1], reverse=True)  # type: ignore[index]
    return sorted(own[max(keep, 1) :])


def prune(root: Path, environment: str, keep: int) -> list[str]:
    """Remove old dumps with their documents; their names."""
    directory = root / "backups"
    gone = prunable([file.name for file in directory.iterdir()], environment, keep)
    for name in gone:
        (directory / name).unlink()
        document = directory / f"{name[:-5]}.json"
        if document.exists():
            document.unlink()
    return gone


def read_json(path: Path) -> dict | None:
    """A JSON object, or None where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write(path: Path, document: dict) -> None:
    """Write a document that only its owner may read, on one line, whole or not at all."""
    write_atomic(path, json.dumps(document, sort_keys=True).encode() + b"\n", sync=True)


def private(path: Path) -> BinaryIO:
    """A new file that only its owner may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def digest(path: Path) -> str:
    """The sha256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def served_release(root: Path) -> str:
    """Id of the release in use here; of the one that migrated last where none is; '' where there never was one."""
    current = read_json(root / "current" / "release.json") or {}
    migrated = read_json(root / "migrated.json") or {}
    return str(current.get("id") or migrated.get("release") or "")
