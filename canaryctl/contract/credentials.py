"""Credentials that an image carries in its environment or its build history. Pure; no finding holds a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# Shapes that their issuers gave them so that they can be found.
_SHAPES = {
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{40,})",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Slack token": r"\bxox[abprs]-[\w-]{10,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "an API key": r"\bsk[-_](?:live_|test_|proj-|ant-)?[\w-]{24,}",
    "a Google API key": r"\bAIza[\w-]{35}",
    "a package index token": r"\b(?:pypi-AgE[\w-]{30,}|npm_[A-Za-z0-9]{36}|dckr_pat_[\w-]{20,})",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    # Bounded: what may begin anywhere and run to the end is looked for from everywhere.
    "a signed token (JWT)": r"\beyJ[\w-]{10,4000}\.eyJ[\w-]{10,4000}\.[\w-]{10,}",
    "a password in a URL": r"\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]{0,200}:(?![$<{])[^\s/@]{3,500}@",
}
_CREDENTIAL_NAME = re.compile(
    r"(^|_)(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|SECRET_?KEY|ACCESS_KEY|PRIVATE_KEY)$"
)
# What such a variable holds when it holds no credential: nothing, a switch, a number, a path, a reference.
_HARMLESS = re.compile(r"(true|false|yes|no|on|off|none|null|\d*|\.{0,2}/.*|file:.*|[$<{].*|['\"]{2})", re.I)
_ASSIGNED = re.compile(r"(?<![\w-])([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S+)")


def credential(name: str, value: str, secrets: Sequence[str]) -> str:
    """What kind of credential a variable holds, in words; empty where it holds none.

    Args:
        secrets: the stack's own secrets, by name.
    """
    if not value:
        return ""
    upper = name.upper()
    for secret in secrets:
        if upper == secret.upper() or upper.endswith(f"_{secret.upper()}"):
            return f"the stack's secret {secret}"
    if kind := shape(value):
        return kind
    return "a credential by its name" if _CREDENTIAL_NAME.search(upper) and not _HARMLESS.fullmatch(value) else ""


def shape(text: str) -> str:
    """The well-known shape of a credential somewhere in a text; empty where there is none."""
    return next((kind for kind, pattern in _SHAPES.items() if re.search(pattern, text)), "")


def carried(
    environment: Iterable[str], history: Iterable[str], secrets: Sequence[str], allowed: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Credentials of an image.

    Args:
        environment: `NAME=value` lines of its configuration.
        history: what made its layers.
        allowed: names that look like credentials and are none.

    Returns:
        Where each is (`variable NAME`, `build history, NAME`) -> what it is; and value -> what to print in its place.
    """
    found: dict[str, str] = {}
    hidden: dict[str, str] = {}

    def look(where: str, name: str, value: str) -> None:
        kind = credential(name, value, secrets)
        if kind and name not in allowed:
            found.setdefault(where, kind)
            if len(value) >= 4:
                hidden.setdefault(value, f"secret {name}")

    for line in environment:
        name, _, value = line.partition("=")
        look(f"variable {name}", name, value)
    for step in history:
        for name, value in _ASSIGNED.findall(step):
            if f"variable {name}" not in found:
                look(f"build history, {name}", name, value.strip("\"'"))
    return found, hidden


def redacted(text: str, secrets: Sequence[str]) -> str:
    """A build step as it may be shown: without values of credentials."""

    def hide(found: re.Match[str]) -> str:
        return f"{found[1]}=[secret]" if credential(found[1], found[2].strip("\"'"), secrets) else found[0]

    text = _ASSIGNED.sub(hide, text)
    for pattern in _SHAPES.values():
        text = re.sub(pattern, "[secret]", text)
    return text
