"""Fingerprints of secrets: enough to tell two values apart, too dear to guess a short one from."""

from __future__ import annotations

import hashlib

# 32 MiB and about a tenth of a second for each guess; the agent's `secrets.py` has the same numbers.
COST, BLOCKS = 1 << 15, 8
SHOWN = 8  # hex digits


def salt_of(stack: str, environment: str) -> str:
    """What the salts of an environment's secrets begin with; each ends with the secret's name.

    So equal values in two places, or under two names, do not show as equal.
    """
    return f"canaryctl secret\0{stack}\0{environment}\0"


def fingerprint(stack: str, environment: str, name: str, value: str) -> str:
    """The first 8 hex digits of scrypt over the value."""
    raw = hashlib.scrypt(
        value.encode("utf-8", "surrogateescape"),
        salt=(salt_of(stack, environment) + name).encode(),
        n=COST,
        r=BLOCKS,
        p=1,
        maxmem=COST * BLOCKS * 128 * 2,
        dklen=SHOWN // 2,
    )
    return raw.hex()
