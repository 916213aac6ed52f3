"""The keys that a host presents, asked for without logging in. Nothing is believed here: see `commands/trust.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import paramiko

from canaryctl.config.environment import Host
from canaryctl.errors import HostError
from canaryctl.hosts import knownhosts
from canaryctl.hosts.connection import Connection
from canaryctl.hosts.native import link_to
from canaryctl.hosts.ssh import connect_to
from canaryctl.hosts.target import Target, jump_of, target_of

_KINDS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)


@dataclass(frozen=True)
class HostKey:
    """A public key that a host has proved to hold. `kind` is as in known_hosts."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """`SHA256:...` as ssh prints it."""
        return knownhosts.fingerprint(self.blob)


def offered_keys(host: Host) -> tuple[Target, list[HostKey]]:
    """A host's place and its keys, one of each kind that it has, over its jump host or proxy command where it has one.

    Raises:
        HostError: it or its jump host cannot be reached, or it speaks no SSH.
    """
    target = target_of(host)
    found: list[HostKey] = []
    refusal: HostError | None = None
    with _way_to(target) as via:
        for algorithms in _KINDS:
            try:
                found.append(_key(target, via, algorithms))
            except HostError as error:
                refusal = refusal or error
    if not found:
        raise refusal or HostError("it presents no key", host.name, "Check its sshd.")
    return target, found


@contextlib.contextmanager
def _way_to(target: Target) -> Iterator[Connection | None]:
    hop = jump_of(target)
    if hop is None:
        yield None
        return
    via = connect_to(hop)
    try:
        yield via
    finally:
        via.close()


def _key(target: Target, via: Connection | None, algorithms: tuple[str, ...]) -> HostKey:
    link = link_to(target, via)
    try:
        transport = paramiko.Transport(link)
    except (paramiko.SSHException, OSError) as error:
        link.close()
        raise _no_ssh(target, error) from None
    try:
        transport.banner_timeout = transport.handshake_timeout = target.connect_timeout
        transport.get_security_options().key_types = algorithms
        transport.start_client(timeout=target.connect_timeout)
        key = transport.get_remote_server_key()
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise _no_ssh(target, error) from None
    finally:
        transport.close()
        link.close()
    return HostKey(key.get_name(), key.asbytes())


def _no_ssh(target: Target, error: BaseException) -> HostError:
    return HostError(
        f"{target.hostname}:{target.port} did not show its key: {error or 'connection closed'}",
        target.host,
        "Check that an SSH server listens there, and its log.",
    )
