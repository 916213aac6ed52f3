#!/usr/bin/python
"""Put a repository's signing key in its place, if it is the one that is pinned."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import fetch_url

DOCUMENTATION = r"""
---
module: signing_key
short_description: Put a repository's signing key in its place, if it is the one that is pinned
description:
  - A key that is fetched has to have one of the fingerprints given, and so has every other key in the same file. A key
    that is given itself is pinned by that.
options:
  key:
    description: An URL, or the armoured key itself.
    type: str
    required: true
  fingerprints:
    description: The fingerprints that a key behind an URL may have, in hexadecimal digits; spaces do not matter.
    type: list
    elements: str
    default: []
  dest:
    description: The file that the key becomes.
    type: path
    required: true
"""

MOST = 1 << 20  # bytes; real keys have some kilobytes
BEGIN, END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
PUBLIC_KEY = 6  # the tag of a primary key's packet (RFC 9580, 5.5)
# By version: what a fingerprint's input begins with, bytes of the length that follows, and the hash (RFC 9580, 5.5.4).
VERSIONS = {4: (b"\x99", 2, hashlib.sha1), 6: (b"\x9b", 4, hashlib.sha256)}


def fingerprints(text: str) -> list[str]:
    """The fingerprints of the primary keys in armoured text, in capital hexadecimal digits.

    Raises:
        ValueError: it is no armoured public key; the text says why.
    """
    found = []
    for tag, body in packets(dearmoured(text)):
        if tag == PUBLIC_KEY:
            if not body or body[0] not in VERSIONS:
                raise ValueError("it has a key of a version that is not known")
            begin, size, hashed = VERSIONS[body[0]]
            found.append(hashed(begin + len(body).to_bytes(size, "big") + body).hexdigest().upper())
    if not found:
        raise ValueError("it holds no key")
    return found


def dearmoured(text: str) -> bytes:
    """The bytes of all public key blocks. Raises ValueError where there is none, or one is damaged."""
    blocks = re.findall(BEGIN + r"\r?\n(.*?)" + END, text.replace("\r\n", "\n"), re.S)
    if not blocks or text.count(BEGIN) != len(blocks):
        raise ValueError("it is no armoured public key")
    content = b""
    for block in blocks:
        _, _, body = ("\n" + block).partition("\n\n")  # after the armour's headers, if any
        lines = [line.strip() for line in body.split("\n")]
        try:
            content += base64.b64decode("".join(line for line in lines if not line.startswith("=")), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("its armour is damaged") from None
    return content


def packets(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and body of each packet (RFC 9580, 4.2). Raises ValueError where one does not end."""
    found = []
    at = 0
    while at < len(data):
        head = data[at]
        if not head & 0x80:
            raise ValueError("it is damaged")
        if head & 0x40:
            tag, at, size = head & 0x3F, *new_length(data, at + 1)
        else:
            tag, width = head >> 2 & 0x0F, 1 << (head & 3)
            if width == 8:
                raise ValueError("it has a packet without a length")
            at, size = at + 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big")
        if at + size > len(data):
            raise ValueError("it is not whole")
        found.append((tag, data[at : at + size]))
        at += size
    return found


def new_length(data: bytes, at: int) -> tuple[int, int]:
    """Where a packet's body begins, and its length, in the newer format."""
    if at >= len(data):
        raise ValueError("it is not whole")
    first = data[at]
    if first < 192:
        return at + 1, first
    if first < 224 and at + 1 < len(data):
        return at + 2, ((first - 192) << 8) + data[at + 1] + 192
    if first == 255:
        return at + 5, int.from_bytes(data[at + 1 : at + 5], "big")
    raise ValueError("it has a packet in pieces")


def plain(fingerprint: str) -> str:
    return re.sub(r"[\s:]", "", fingerprint).upper()


def refusal(text: str, pinned: list[str], where: str) -> str:
    """Why a fetched key is not taken, '' where it is the pinned one."""
    try:
        found = fingerprints(text)
    except ValueError as error:
        return where + " gives no key: " + str(error)
    if not pinned:
        return where + " gives the key " + ", ".join(found) + ", and no fingerprint says that it is the right one"
    if strange := sorted(set(found) - set(map(plain, pinned))):
        return where + " gives the key " + ", ".join(strange) + ", not the pinned " + ", ".join(map(plain, pinned))
    return ""


def fetched(module: AnsibleModule, url: str) -> str:
    answer, about = fetch_url(module, url, timeout=30)
    if answer is None or about.get("status", 200) not in (200, None):
        module.fail_json(msg="the key cannot be had from " + url + ": " + str(about.get("msg")))
    content = answer.read(MOST + 1)
    if len(content) > MOST:
        module.fail_json(msg=url + " gives more than a key")
    return str(content.decode("utf-8", "replace"))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "key": {"type": "str", "required": True, "no_log": False},
            "fingerprints": {"type": "list", "elements": "str", "default": []},
            "dest": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    key, dest = module.params["key"], Path(module.params["dest"])
    if BEGIN not in key:
        url, key = key, fetched(module, key)
        if why := refusal(key, [one for one in module.params["fingerprints"] if one], url):
            module.fail_json(msg=why)
    content = key.strip() + "\n"
    try:
        loose = dest.stat().st_mode & 0o7777 != 0o644
        changed = loose or dest.read_text(encoding="utf-8").strip() != content.strip()
    except (OSError, UnicodeDecodeError):
        changed = True
    if changed and not module.check_mode:
        dest.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, delete=False, encoding="utf-8") as new:
            new.write(content)
        module.atomic_move(new.name, str(dest))  # which gives it the mode of what is there
        dest.chmod(0o644)
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
