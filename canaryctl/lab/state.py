"""A lab's state: one directory under the user's state directory, shared by every checkout on the machine.

$XDG_STATE_HOME/canaryctl/labs/NAME/
  lab.json          name, subnet, hosts: where each is reached
  id_ed25519(.pub)  the lab's own SSH key
  known_hosts       the hosts' keys, read through Docker
  signing_key(.pub)  signs what is judged on the lab; allowed_signers lists it
  secrets/ENVIRONMENT/SECRET
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets as random
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from canaryctl.agent.write.atomic import write_atomic
from canaryctl.errors import ConfigError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class LabHost:
    """Where a lab host is reached: `address` on the lab's network, SSH on 127.0.0.1:`port`, Docker's `container`."""

    address: str
    port: int
    container: str


@dataclass(frozen=True)
class Lab:
    """A lab as recorded: its own subnet (CIDR) and its hosts by name."""

    name: str
    subnet: str
    hosts: dict[str, LabHost] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """The name of the lab's Docker network."""
        return f"canaryctl-{self.name}"

    @property
    def directory(self) -> Path:
        return directory(self.name)

    @property
    def key(self) -> Path:
        """The private key the lab user accepts."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def root() -> Path:
    """Our directory under the user's state directory."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "canaryctl"


def directory(name: str) -> Path:
    """A lab's directory.

    Raises:
        ConfigError: the name would not do as part of a container's name.
    """
    return root() / "labs" / checked_name(name, "lab")


def checked_name(name: str, kind: str) -> str:
    """`name`, if it serves as a host name and as part of a container's.

    Raises:
        ConfigError: it does not.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a {kind}", hint="use lower-case letters, digits and hyphens, 32 at most"
        )
    return name


def load(name: str) -> Lab | None:
    """The recorded lab, or None where there is none.

    Raises:
        ConfigError: the record cannot be read.
    """
    file = directory(name) / "lab.json"
    try:
        data = json.loads(file.read_text())
        hosts = {host: LabHost(**found) for host, found in data["hosts"].items()}
        return Lab(data["name"], data["subnet"], hosts)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        hint = f"`canaryctl lab down --purge --name {name}`, then `canaryctl lab up --name {name}`"
        raise ConfigError(f"the lab's record cannot be read ({error})", str(file), hint) from None


def save(lab: Lab) -> None:
    """Record the lab, all or nothing."""
    write(lab.directory / "lab.json", json.dumps(lab.as_dict(), indent=2) + "\n")


def write(file: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file's content; a reader sees the old or the new, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(file, text.encode(), mode)


def forget(name: str, *, purge: bool) -> None:
    """Drop the record of a lab whose hosts are gone; with `purge` also its SSH key and secrets."""
    if purge:
        shutil.rmtree(directory(name), ignore_errors=True)
        return
    for file in ("lab.json", "known_hosts"):
        (directory(name) / file).unlink(missing_ok=True)


def ensure_key(lab: Lab) -> str:
    """The lab's public key, made on first use."""
    return _ensure_pair(lab.key, f"canaryctl lab {lab.name}")


def ensure_signing(lab: Lab) -> None:
    """A key that signs what is judged on the lab, and the list that allows it to, made on first use."""
    public = _ensure_pair(lab.directory / "signing_key", f"canaryctl lab {lab.name} signs")
    listed = lab.directory / "allowed_signers"
    if not listed.exists():
        kind, key, *_ = public.split()
        write(listed, f'lab-{lab.name} namespaces="canaryctl" {kind} {key}\n')


def _ensure_pair(key: Path, comment: str) -> str:
    public = key.with_suffix(".pub")
    if not (key.exists() and public.exists()):
        key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = key.with_name(f".{key.name}.{os.getpid()}")
        for leftover in (fresh, fresh.with_name(f"{fresh.name}.pub")):
            leftover.unlink(missing_ok=True)
        try:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(fresh)], check=True)
        except FileNotFoundError:
            hint = "Debian/Ubuntu, as root: apt-get install openssh-client"
            raise ConfigError("ssh-keygen is not installed on this machine", "ssh", hint) from None
        fresh.with_name(f"{fresh.name}.pub").replace(public)
        fresh.replace(key)
    return public.read_text().strip()


def ensure_secrets(lab_name: str, wanted: Mapping[str, Iterable[str]]) -> list[str]:
    """Make each environment's secrets that are not there yet, once, 0600; returns those made as ENVIRONMENT/SECRET."""
    made = []
    for environment, names in wanted.items():
        for secret in names:
            file = directory(lab_name) / "secrets" / environment / secret
            if not file.exists():
                write(file, random.token_urlsafe(24))
                made.append(f"{environment}/{secret}")
    return made


@contextlib.contextmanager
def locked(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the machine's lock on `what`; says so when it has to wait. The kernel frees it if we die."""
    file = root() / f"{what}.lock"
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another canaryctl to finish with {file}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
