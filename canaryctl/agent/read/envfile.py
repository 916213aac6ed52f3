"""The lines of an env file as we write it (see config/secrets.py), and what proves them without telling them. Pure."""

from __future__ import annotations

import hashlib
import hmac


def split_lines(content: bytes) -> dict[str, bytes]:
    """The lines by the name that each gives a value."""
    lines = [line for line in content.split(b"\n") if b"=" in line]
    return {line.split(b"=", 1)[0].decode("utf-8", "replace"): line for line in lines}


def secrets_mac(key: str, content: bytes) -> str:
    """Proves to who knows the content that it is the same, and tells nobody else anything. `key` is in hex."""
    return hmac.new(bytes.fromhex(key), content, hashlib.sha256).hexdigest()


def line_macs(key: str, content: bytes) -> dict[str, str]:
    """The same for each line by the name that it gives a value."""
    return {name: secrets_mac(key, line) for name, line in split_lines(content).items()}
