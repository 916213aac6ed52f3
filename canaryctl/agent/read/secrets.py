"""The secrets that a host holds, told without their values: a keyed digest and a slow fingerprint of each."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any

from canaryctl.agent.read.envfile import secrets_mac, split_lines
from canaryctl.agent.read.regular import read_regular

# 32 MiB and about a tenth of a second for each guess; SHOWN are hex digits.
COST, BLOCKS, SHOWN = 1 << 15, 8, 8
_ESCAPES = {"n": "\n", "r": "\r"}


def plain_value(line: bytes) -> str:
    """The value that compose reads from a line NAME="..." of ours."""
    text = line.split(b"=", 1)[1].decode("utf-8", "surrogateescape")
    text, plain, position = text[1:-1], [], 0
    while position < len(text):
        if text[position] == "\\" and position + 1 < len(text):
            position += 1
            plain.append(_ESCAPES.get(text[position], text[position]))
        else:
            plain.append(text[position])
        position += 1
    return "".join(plain)


def fingerprint_of(salt: str, name: str, value: str) -> str:
    """Hex digits by which two people can compare a value; slow, so that guessing is."""
    raw = hashlib.scrypt(
        value.encode("utf-8", "surrogateescape"),
        salt=(salt + name).encode(),
        n=COST,
        r=BLOCKS,
        p=1,
        maxmem=COST * BLOCKS * 128 * 2,
        dklen=SHOWN // 2,
    )
    return raw.hex()


def held(config: dict[str, Any]) -> dict[str, Any]:
    """Name -> mac and fingerprint; the file's mode and owner beside them. Null where there is no file."""
    path = os.path.join(config["root"], config["stack"], "secrets.env")
    try:
        lines, status = split_lines(read_regular(path)), os.stat(path)
    except FileNotFoundError:
        return {"secrets": {}, "mode": None, "uid": None}
    found = {
        name: {
            "mac": secrets_mac(config["nonce"], line),
            "fingerprint": fingerprint_of(config["salt"], name, plain_value(line)),
        }
        for name, line in lines.items()
    }
    return {"secrets": found, "mode": "%04o" % (status.st_mode & 0o7777), "uid": status.st_uid}


def answer_secrets(config: dict[str, Any]) -> None:
    """What the host holds as one line of JSON: see facts/programs.py, `HeldSecrets`."""
    document: dict[str, Any] = {"agent": 1, "become": sys.argv[1], "become_reason": sys.argv[2], "error": ""}
    try:
        document.update(held(config))
    except (OSError, ValueError) as error:
        document["error"] = str(error)
    sys.stdout.write("\n" + json.dumps(document) + "\n")
