"""Who may sign an environment's verdicts: show its list of allowed signers, and add keys to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canaryctl.agent.write.atomic import write_atomic
from canaryctl.agent.write.turn import turn
from canaryctl.config.environment import load_environment
from canaryctl.config.signing import KEY_VARIABLE, allowed_of, key_of
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError
from canaryctl.evidence.document import operator_name
from canaryctl.evidence.signatures import NAMESPACE, PublicKey, own_keys, parse_keys, public_key, read_keys
from canaryctl.plan.deployment import Request

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


@dataclass(frozen=True)
class Signer:
    """A line of the list: by which name, with which options, and the key."""

    name: str
    options: str
    key: PublicKey

    @property
    def line(self) -> str:
        """As the file has it."""
        return " ".join(filter(None, (self.name, self.options, self.key.text)))

    def as_dict(self) -> dict[str, str]:
        return {"name": self.name, "type": self.key.kind, "fingerprint": self.key.fingerprint, "options": self.options}


@dataclass(frozen=True)
class Signers:
    """The list of an environment, and what is to be added to it."""

    environment: str
    path: Path
    listed: tuple[Signer, ...]
    added: tuple[Signer, ...] = ()

    @property
    def file(self) -> str:
        """Where the list is, as an operator would type it."""
        return shown(self.path)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "environment": self.environment,
            "allowed_signers": self.file,
            "signers": [signer.as_dict() for signer in (*self.listed, *self.added)],
            "added": [signer.key.fingerprint for signer in self.added],
        }


def signers(request: Request, files: Sequence[Path], *, me: bool) -> Signers:
    """The list of an environment, and which keys of `files`, and of the operator with `me`, are not on it yet.

    Raises:
        ConfigError: the inventory is faulty, a file holds no public key, or the operator has none.
    """
    environment = load_environment(
        request.project, request.environment, vault_password_file=request.vault_password_file
    )
    path = allowed_of(environment)
    listed = parse_signers(_text(path))
    wanted = [_of_file(file) for file in files]
    wanted += [_of_operator(key_of(environment))] if me else []
    known = {signer.key.blob for signer in listed}
    added = {signer.key.blob: signer for signer in wanted if signer.key.blob not in known}
    return Signers(environment.name, path, tuple(listed), tuple(added.values()))


def parse_signers(text: str) -> list[Signer]:
    """The lines of a list of allowed signers that have a key behind a name: without one, a key may sign nothing."""
    found = []
    for line in text.splitlines():
        words = line.split(None, 1)
        if len(words) == 2 and not words[0].startswith("#"):
            name, rest = words
            found += [Signer(name, rest[: rest.find(key.kind)].strip(), key) for key in parse_keys(rest)]
    return found


def add(chosen: Signers) -> None:
    """Write the list with what is added at its end (0644); what is there stays as it is."""
    try:
        with turn(str(chosen.path)):  # of two at once, neither's signers are lost
            before = _text(chosen.path)
            before += "\n" if before and not before.endswith("\n") else ""
            text = before + "".join(f"{signer.line}\n" for signer in chosen.added)
            write_atomic(chosen.path, text.encode(errors="surrogateescape"), 0o644, sync=True)
    except OSError as error:
        raise ConfigError(f"the list cannot be written: {error.strerror}", shown(chosen.path), "") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"the list cannot be read: {error.strerror}", shown(path), "") from None


def _of_file(path: Path) -> Signer:
    keys = read_keys(path)
    if len(keys) != 1:
        raise ConfigError(
            f"{shown(path)} holds {'no' if not keys else 'more than one'} public key",
            "--add",
            "name a .pub file, as ssh-keygen makes it",
        )
    comment = keys[0].comment
    return _signer(comment if _NAME.fullmatch(comment) else path.stem, keys[0])


def _of_operator(named: Path | None) -> Signer:
    own = [key for key in (public_key(named),) if key] if named else own_keys()
    if not own:
        raise ConfigError(
            f"the public half of {shown(named)} is not beside it" if named else "you have no SSH key",
            "--me",
            f"make one with ssh-keygen -t ed25519, or name one in {KEY_VARIABLE}",
        )
    return _signer(operator_name(), own[0])


def _signer(name: str, key: PublicKey) -> Signer:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name[:100]!r} is no name for a signer", "--add", "give the key a comment like ann@desk")
    return Signer(name, f'namespaces="{NAMESPACE}"', key)
