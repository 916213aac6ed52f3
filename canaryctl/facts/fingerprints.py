"""Fingerprints of secrets: enough to tell two values apart, too dear to guess a short one from."""

from __future__ import annotations

from canaryctl.agent.read.secrets import fingerprint_of


def salt_of(stack: str, environment: str) -> str:
    """What the salts of an environment's secrets begin with; each ends with the secret's name.

    So equal values in two places, or under two names, do not show as equal.
    """
    return f"canaryctl secret\0{stack}\0{environment}\0"


def fingerprint(stack: str, environment: str, name: str, value: str) -> str:
    """The first 8 hex digits of scrypt over the value, as a host makes them of the one that it holds."""
    return fingerprint_of(salt_of(stack, environment), name, value)
