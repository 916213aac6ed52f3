"""Plain data and files of the evidence: JSON that always encodes, writes that are whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from canaryctl.agent.write.atomic import write_atomic
from canaryctl.evidence.private import file_mode, make_below

MANIFEST = "MANIFEST.sha256"
# What drives a terminal, or has text shown in another order than it is in: DEL and C1, line and paragraph separators,
# bidirectional controls; and what no encoding can say. A part of a regular expression's set of characters.
UNSEEN = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_JSON_LEAVES = re.compile(f"[{UNSEEN}]")  # where it does not escape all that is not ASCII


def plain(value: Any) -> Any:
    """The value as JSON has it: dataclasses, paths, times, sets and enums turned into what they say."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    return str(value)


def encode(text: str) -> bytes:
    """UTF-8; what UTF-8 cannot say (a lone surrogate) becomes a backslash escape, which JSON reads back."""
    return text.encode("utf-8", "backslashreplace")


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON that any file takes and no terminal obeys: what is not to be seen is escaped, and reads back the same."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    return _JSON_LEAVES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def to_json(value: Any) -> bytes:
    """An indented JSON file, readable in an editor."""
    return encode(json_text(plain(value), indent=2) + "\n")


def write(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a file of a run, whole or not at all; its readers are its directory's. `sync` as for `write_atomic`."""
    make_below(path.parent)
    write_atomic(path, content, file_mode(path.parent), sync=sync)


def safe_name(name: str) -> str:
    """One path component that stays where it is put, whatever a host or a container is called."""
    cleaned = re.sub(r"[^A-Za-z0-9._@+-]", "_", name)[:200]
    return cleaned if cleaned.strip(".") else "_" * max(len(cleaned), 1)


def files_below(directory: Path) -> dict[str, Path]:
    """Every file below a directory by its relative POSIX path, sorted; linked directories are not entered."""
    found = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    return dict(sorted(found.items()))


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(directory: Path) -> None:
    """List every file of a run but the manifest itself, in the form `sha256sum -c` reads."""
    lines = [f"{sha256(path)}  {name}\n" for name, path in files_below(directory).items() if name != MANIFEST]
    write(directory / MANIFEST, "".join(lines).encode(), sync=True)
