"""The operator's credentials for registries, from where `docker login` put them.

Format: docs.docker.com, "docker login" (auths, credHelpers, credsStore and the credential helper protocol).
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canaryctl.config.reference import DOCKER_HUB
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError

_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # noqa: S105  what helpers say in place of a user where the secret is an identity token
_HELPER_PATIENCE = 60  # seconds: a helper may ask a person to touch a key


@dataclass(frozen=True)
class Credential:
    """What opens one registry: user and password, or an identity token."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def secrets(self) -> dict[str, str]:
        """The values that nobody else may see, by what they are."""
        both = {"password": self.password, "identity token": self.identity_token}
        return {what: value for what, value in both.items() if value}

    def as_header(self, registry: str) -> str:
        """X-Registry-Auth, as Docker's API wants it."""
        server = {"serveraddress": server_key(registry)}
        content = (
            {"identitytoken": self.identity_token, **server}
            if self.identity_token
            else {"username": self.user, "password": self.password, **server}
        )
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def server_key(registry: str) -> str:
    """The name under which Docker keeps a registry's credential."""
    return _HUB_KEY if registry == DOCKER_HUB else registry


def find_credential(registry: str) -> Credential | None:
    """What the operator's docker configuration has for a registry; None where it has nothing.

    Raises:
        ConfigError: the configuration cannot be read, or a credential helper fails.
    """
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"Docker's configuration cannot be read: {error}", shown(path), "fix the file") from None
    return credential_in(config, registry, shown(path))


def credential_in(config: Any, registry: str, where: str) -> Credential | None:
    """What a parsed config.json has for a registry; `where` it lies.

    Raises:
        ConfigError: it is malformed, or a credential helper fails.
    """
    key = server_key(registry)
    helper = _mapping(config, "credHelpers", where).get(key) or config.get("credsStore")
    if helper and (found := _ask_helper(str(helper), key)):
        return found
    for name, entry in _mapping(config, "auths", where).items():
        if _same(str(name), registry) and (found := _from_entry(entry, f"{where} (auths, {name})")):
            return found
    return None


def _mapping(document: Any, key: str, where: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ConfigError("Docker's configuration is no JSON object", where, "fix the file")
    found = document.get(key) or {}
    if not isinstance(found, dict):
        raise ConfigError(f"'{key}' in Docker's configuration is no JSON object", where, "fix the file")
    return found


def _same(name: str, registry: str) -> bool:
    """Older Dockers wrote a whole address where newer ones write `host:port`."""
    if name == server_key(registry):
        return True
    host = name.split("://", 1)[-1].split("/", 1)[0]
    return host == registry or (registry == DOCKER_HUB and host in ("index.docker.io", "docker.io"))


def _from_entry(entry: Any, where: str) -> Credential | None:
    if not isinstance(entry, dict):
        raise ConfigError("the credential is no JSON object", where, "docker login again")
    if entry.get("identitytoken"):
        return _whole(Credential(identity_token=str(entry["identitytoken"])), where)
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except ValueError:  # binascii.Error and UnicodeError among them
            raise ConfigError("the credential is not base64", where, "docker login again") from None
    password = password.rstrip("\0")
    return _whole(Credential(user, password), where) if user and password else None


def _whole(credential: Credential, where: str) -> Credential:
    """JSON may hold halves of characters, which no request can."""
    try:
        for value in (credential.user, *credential.secrets):
            value.encode()
    except UnicodeEncodeError:
        raise ConfigError("the credential is no text", where, "docker login again") from None
    return credential


def _ask_helper(helper: str, key: str) -> Credential | None:
    program = f"docker-credential-{helper}"
    if not re.fullmatch(r"[\w.-]+", helper):
        raise ConfigError(f"Docker's configuration names no credential helper but {helper!r}", key, "fix the file")
    try:
        done = subprocess.run(
            [program, "get"],
            input=key,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_HELPER_PATIENCE,
        )
    except FileNotFoundError:
        raise ConfigError(
            f"Docker's configuration names the credential helper {program}, which is not on this machine",
            key,
            "install it, or remove credsStore/credHelpers from ~/.docker/config.json and docker login again",
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{program} did not answer within {_HELPER_PATIENCE} s", key, f"try: {program} get") from None
    return parse_helper(program, key, done)


def parse_helper(program: str, key: str, done: subprocess.CompletedProcess[str]) -> Credential | None:
    """What a credential helper answered; None where it has nothing.

    Raises:
        ConfigError: it failed, or answered something else.
    """
    output = (done.stdout + done.stderr).strip()
    if done.returncode:
        if "not found" in output.lower():
            return None
        # A helper that fails may say part of what it knows, but by its protocol that is the reason, not the secret.
        raise ConfigError(f"{program} failed: {output[:300] or f'exit {done.returncode}'}", key, f"try: {program} get")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    except (ValueError, AttributeError, RecursionError):
        raise ConfigError(f"{program} answered with something else than JSON", key, f"try: {program} get") from None
    if not secret:
        return None
    return _whole(Credential(identity_token=secret) if user == _TOKEN_USER else Credential(user, secret), key)
