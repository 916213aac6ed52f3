"""known_hosts, read as OpenSSH reads it: patterns, hashed names, revoked keys, certificate authorities."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Standing = Literal["known", "unknown", "changed", "revoked"]


@dataclass(frozen=True)
class KnownKey:
    """One line of a known_hosts file. `marker` is empty, `@revoked` or `@cert-authority`."""

    where: str
    marker: str
    kind: str
    blob: bytes


def matching(files: Iterable[Path], names: Sequence[str]) -> list[KnownKey]:
    """The entries for a host. Later `names` count only where the earlier have no plain key."""
    texts = [(path, path.read_text(encoding="utf-8", errors="replace")) for path in files if path.is_file()]
    found: list[KnownKey] = []
    for name in names:
        found += [key for path, text in texts for key in parse(text, name, str(path))]
        if any(not key.marker for key in found):
            break
    return found


def parse(text: str, name: str, path: str) -> list[KnownKey]:
    """The entries of one file that are about `name` (`host` or `[host]:port`)."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or not _names(words[0], name):
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except ValueError:  # binascii.Error is one
            continue  # OpenSSH ignores damaged lines as well; the key then counts as unknown
        found.append(KnownKey(f"{path}:{number}", marker, words[1], blob))
    return found


def _names(field: str, name: str) -> bool:
    if field.startswith("|1|"):
        salt, _, digest = field[3:].partition("|")
        try:
            made = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
            return hmac.compare_digest(made, base64.b64decode(digest))
        except ValueError:
            return False
    matched = False
    for pattern in field.lower().split(","):
        # Brackets are literal in known_hosts, where fnmatch takes them for a set.
        glob = re.sub(r"\[", "[[]", pattern.removeprefix("!"))
        if fnmatch.fnmatchcase(name, glob):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched


def standing(known: Sequence[KnownKey], kind: str, blob: bytes) -> Standing:
    """What known_hosts says of the key that a server presents."""
    if any(key.blob == blob for key in known if key.marker == "@revoked"):
        return "revoked"
    plain = [key for key in known if not key.marker]
    if any(key.blob == blob for key in plain):
        return "known"
    return "changed" if plain else "unknown"


def algorithms(known: Sequence[KnownKey]) -> list[str]:
    """Host key algorithms that the known keys allow: asking for these first avoids a false 'changed'."""
    names: list[str] = []
    for key in known:
        if not key.marker:
            names += ["rsa-sha2-512", "rsa-sha2-256"] if key.kind == "ssh-rsa" else [key.kind]
    return list(dict.fromkeys(names))


def fingerprint(blob: bytes) -> str:
    """`SHA256:...` as ssh prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
