"""The keys a connection may offer: files, certificates and the agent, in OpenSSH's order. Imports paramiko."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH
from paramiko.pkey import UnknownKeyType

from canaryctl.observe.target import Target

_MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True)
class Identity:
    """A key to offer, and how errors name it."""

    key: paramiko.PKey
    name: str


class Agent(AgentSSH):
    """An ssh-agent at a given socket (`IdentityAgent`), where paramiko's own knows only SSH_AUTH_SOCK."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(path)
        self._connect(connection)  # type: ignore[attr-defined]

    def close(self) -> None:
        self._close()  # type: ignore[attr-defined]


def public_part(path: Path) -> bytes:
    """The public key blob of a private key file, read without its passphrase; empty where the file does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return base64.b64decode(path.with_name(path.name + ".pub").read_text().split()[1])
    with contextlib.suppress(OSError, ValueError, struct.error):
        lines = path.read_text().strip().splitlines()
        data = base64.b64decode("".join(lines[1:-1]))
        if data.startswith(_MAGIC):
            rest = data[len(_MAGIC) :]
            for _ in range(3):  # cipher, kdf, kdf options
                rest = rest[4 + struct.unpack(">I", rest[:4])[0] :]
            size = struct.unpack(">I", rest[4:8])[0]  # after the count of keys
            return rest[8 : 8 + size]
    return b""


def kind_of(blob: bytes) -> str:
    """The key type a public blob starts with."""
    size = struct.unpack(">I", blob[:4])[0] if len(blob) > 4 else 0
    return blob[4 : 4 + size].decode("ascii", "replace")


def security_key(target: Target) -> str:
    """The first identity file of `target` that is a security key, which paramiko cannot use."""
    for path in target.files("identityfile"):
        if path.is_file() and kind_of(public_part(path)).startswith("sk-"):
            return str(path)
    return ""


def open_agent(target: Target) -> Agent | None:
    """The agent that applies: `IdentityAgent`, else SSH_AUTH_SOCK; None where there is none or it does not answer."""
    where = target.option("identityagent", "SSH_AUTH_SOCK")
    if where == "none":
        return None
    where = os.environ.get(where.lstrip("$"), "") if where.lstrip("$") == "SSH_AUTH_SOCK" else target.expand(where)
    if not where:
        return None
    try:
        return Agent(where)
    except (OSError, paramiko.SSHException):
        return None  # ssh treats a dead agent as no agent; the refusal that may follow lists the keys tried


def identities(target: Target, agent: Agent | None, skipped: list[str]) -> Iterator[Identity]:
    """What to offer, best first. Files that cannot be used are named in `skipped`, with the reason."""
    files = [path for path in target.files("identityfile") if path.is_file()]
    held = list(agent.get_keys()) if agent else []
    wanted = {public_part(path): path for path in files}
    certificates = [path for path in target.files("certificatefile") if path.is_file()]
    configured = [key for key in held if key.asbytes() in wanted]
    offered = {key.asbytes() for key in configured}
    for key in configured:
        yield from _with_certificates(key, f"agent: {wanted[key.asbytes()]}", certificates)
    if target.option("identitiesonly", "no") != "yes":
        for key in held:
            if key.asbytes() not in offered:
                yield from _with_certificates(key, f"agent: {key.comment or fingerprint_of(key)}", certificates)
    for path in files:
        if public_part(path) in offered:
            continue
        try:
            own = paramiko.PKey.from_path(path)
        except (paramiko.PasswordRequiredException, TypeError):
            skipped.append(f"{path} (needs its passphrase: ssh-add it)")
        except PermissionError:
            skipped.append(f"{path} (not readable)")
        except (OSError, ValueError, paramiko.SSHException, UnknownKeyType) as error:
            skipped.append(f"{path} ({str(error).splitlines()[0] if str(error) else type(error).__name__})")
        else:
            yield from _with_certificates(own, str(path), certificates)


def _with_certificates(key: paramiko.PKey, name: str, certificates: list[Path]) -> Iterator[Identity]:
    for certificate in certificates:
        blob = key.public_blob
        try:
            key.load_certificate(str(certificate))
        except ValueError:
            continue  # the certificate of another key
        yield Identity(key, f"{name} with {certificate}")
        key.public_blob = blob
    yield Identity(key, name)


def fingerprint_of(key: paramiko.PKey) -> str:
    return key.fingerprint  # type: ignore[no-any-return, attr-defined, unused-ignore]
