"""Logging in: keys from files, certificates and the agent, in OpenSSH's order, then a password. Imports paramiko."""

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

from canaryctl.errors import HostError
from canaryctl.hosts.connection import lost
from canaryctl.hosts.target import NeedsOpenSSH, Target

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


def authenticate(transport: paramiko.Transport, target: Target) -> None:
    """Log in with the keys and the password that `target` allows. Raises HostError naming all that was tried."""
    tried: list[str] = []
    skipped: list[str] = []
    needed: list[str] = []
    methods = target.choices("preferredauthentications")
    if target.option("pubkeyauthentication", "true") not in ("no", "false") and (not methods or "publickey" in methods):
        agent = open_agent(target)
        try:
            for identity in identities(target, agent, skipped):
                tried.append(identity.name)
                if _offer(transport, target, identity, tried, needed):
                    return
                if needed and "publickey" not in needed:
                    break
        finally:
            if agent is not None:
                agent.close()
    if target.password:
        tried.append("the password")
        with contextlib.suppress(paramiko.AuthenticationException):
            if not transport.auth_password(target.user, target.password):
                return
    raise _refused(target, tried, skipped, needed)


def _offer(
    transport: paramiko.Transport, target: Target, identity: Identity, tried: list[str], needed: list[str]
) -> bool:
    """Try one key. True when the server lets us in; `needed` gets what it wants besides."""
    try:
        more = transport.auth_publickey(target.user, identity.key)
    except paramiko.AuthenticationException:
        if transport.is_active():
            return False
        raise HostError(
            f"it closed the connection after {len(tried)} keys for user {target.user}: {', '.join(tried)}",
            target.host,
            "Name the right key (ansible_ssh_private_key_file) and set IdentitiesOnly=yes.",
        ) from None
    except (paramiko.SSHException, OSError, EOFError):
        if transport.is_active():
            return False
        raise lost(target.host, "while authenticating") from None
    needed[:] = more or []
    return not more


def _refused(target: Target, tried: list[str], skipped: list[str], needed: list[str]) -> Exception:
    if target.option("gssapiauthentication", "no") == "yes" and _ticket():
        return NeedsOpenSSH("a Kerberos ticket is there, and no key was accepted")
    what = f"it refuses user {target.user}"
    what += f" with {', '.join(tried)}" if tried else ": there is no key to offer"
    what += f"; it also wants {', '.join(needed)}" if needed else ""
    what += f"; not usable: {', '.join(skipped)}" if skipped else ""
    return HostError(
        what,
        target.host,
        "Check ansible_user and ansible_ssh_private_key_file, and the user's authorized_keys on the host.",
    )


def _ticket() -> bool:
    return bool(os.environ.get("KRB5CCNAME")) or os.path.exists(f"/tmp/krb5cc_{os.getuid()}")  # noqa: S108, PTH110
