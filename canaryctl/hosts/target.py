"""Where a host is and how to reach it: inventory variables and the user's ssh configuration, resolved by `ssh -G`."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from canaryctl.config.environment import Host
from canaryctl.errors import ConfigError, HostError

CONNECT_TIMEOUT = 10.0  # seconds, Ansible's default too

# Options of `ssh -G` that only OpenSSH itself can honour, with the values that mean "not used".
_ONLY_OPENSSH = {
    "pkcs11provider": {"none"},
    "knownhostscommand": {"none"},
    "revokedhostkeys": {"none"},
    "bindaddress": {"none"},
    "bindinterface": {"none"},
    "proxyusefdpass": {"no"},
    "hostbasedauthentication": {"no"},
}


class Dropped(HostError):  # noqa: N818  what happened, as NeedsOpenSSH
    """sshd ended the connection before it asked who we are: it may have too many that have not said so yet.

    `tried`: as often as is worth it.
    """

    tried = False


class NeedsOpenSSH(Exception):  # noqa: N818  a redirection, not a fault
    """What the server or the configuration asks for is beyond paramiko."""


@dataclass(frozen=True)
class Target:
    """A host with every ssh option that applies to it.

    `arguments` are what OpenSSH needs to reach the same place (without the destination itself).
    `options` is the output of `ssh -G`: lower-case keyword -> values in order. `jump`: it is only on the way to `host`.
    """

    host: str
    destination: str
    arguments: tuple[str, ...]
    options: dict[str, tuple[str, ...]] = field(repr=False)
    password: str = field(default="", repr=False)
    jump: bool = False

    def option(self, name: str, default: str = "") -> str:
        return self.options.get(name, (default,))[0]

    def choices(self, name: str) -> list[str]:
        """A comma-separated option as a list."""
        return [word for word in self.option(name).split(",") if word]

    @property
    def hostname(self) -> str:
        return self.option("hostname", self.destination)

    @property
    def port(self) -> int:
        return int(self.option("port", "22"))

    @property
    def user(self) -> str:
        return self.option("user") or getpass.getuser()

    @property
    def connect_timeout(self) -> float:
        value = self.option("connecttimeout", "none")
        return float(value) if value.isdigit() and int(value) else CONNECT_TIMEOUT

    @property
    def keeps_alive(self) -> bool:
        """Whether the inventory's ssh arguments say themselves when a silent host is given up."""
        return "serveralive" in " ".join(self.arguments).lower()

    @property
    def known_as(self) -> list[str]:
        """The names to look for in known_hosts, the first being the host's own (OpenSSH falls back to the bare one)."""
        alias = self.option("hostkeyalias")
        if alias and alias != "none":
            return [alias.lower()]
        name = self.hostname.lower()
        return [name] if self.port == 22 else [f"[{name}]:{self.port}", name]

    def files(self, name: str) -> list[Path]:
        """A file-list option (`UserKnownHostsFile`, `IdentityFile`, ...) with its tokens expanded."""
        found: list[Path] = []
        for value in self.options.get(name, ()):
            whole = Path(self.expand(value))
            # `ssh -G` prints several files of one option unquoted on one line; a path with a space is told by existing.
            names = [value] if whole.exists() or name == "identityfile" else _paths(value.split())
            found += [Path(self.expand(n)) for n in names if n != "none"]
        return found

    def expand(self, value: str) -> str:
        """OpenSSH's percent tokens, `~` and `${VARIABLES}`."""
        local = socket.gethostname()
        words = {
            "%": "%",
            "d": str(Path.home()),
            "h": self.hostname,
            "i": str(os.getuid()),
            "j": self.option("proxyjump"),
            "k": self.option("hostkeyalias") or self.hostname,
            "L": local.split(".")[0],
            "l": local,
            "n": self.destination,
            "p": str(self.port),
            "r": self.user,
            "u": getpass.getuser(),
        }
        joined = words["l"] + words["h"] + words["p"] + words["r"] + words["j"]
        words["C"] = hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()
        value = re.sub(r"\$\{(\w+)\}", lambda m: os.environ.get(m[1], m[0]), value)
        value = re.sub(r"%(.)", lambda m: words.get(m[1], m[0]), value)
        return str(Path(value).expanduser()) if value.startswith("~") else value

    def needs_openssh(self) -> str:
        """Why only OpenSSH can honour this configuration; empty when nothing asks for it."""
        for name, unused in _ONLY_OPENSSH.items():
            value = self.option(name)
            if value and value not in unused:
                return f"{name} is set"
        return ""


def variable(host: Host, *names: str) -> Any:
    """The first of these inventory variables that has a value."""
    return next((host.vars[n] for n in names if host.vars.get(n) not in (None, "")), None)


def arguments(host: Host) -> tuple[str, list[str]]:
    """The destination and the ssh arguments that the inventory asks for, in the order Ansible gives them."""
    args = _split(host, "ansible_ssh_args")
    if port := variable(host, "ansible_port", "ansible_ssh_port"):
        args += ["-o", f"Port={port}"]
    if key := variable(host, "ansible_ssh_private_key_file", "ansible_private_key_file"):
        args += ["-o", f'IdentityFile="{Path(str(key)).expanduser()}"']
    if user := variable(host, "ansible_user", "ansible_ssh_user"):
        args += ["-o", f'User="{user}"']
    if timeout := variable(host, "ansible_ssh_timeout", "ansible_timeout"):
        args += ["-o", f"ConnectTimeout={timeout}"]
    args += _split(host, "ansible_ssh_common_args") + _split(host, "ansible_ssh_extra_args")
    return str(variable(host, "ansible_host", "ansible_ssh_host") or host.name), args


def _split(host: Host, name: str) -> list[str]:
    try:
        return shlex.split(str(host.vars.get(name) or ""))
    except ValueError as error:
        raise ConfigError(f"{name} cannot be split into words: {error}", host.name, "Balance its quotes.") from None


def parse(dump: str) -> dict[str, tuple[str, ...]]:
    """The output of `ssh -G`."""
    options: dict[str, list[str]] = {}
    for line in dump.splitlines():
        keyword, _, value = line.partition(" ")
        if value:
            options.setdefault(keyword.lower(), []).append(value)
    return {keyword: tuple(values) for keyword, values in options.items()}


def resolve(name: str, destination: str, args: Sequence[str], password: str = "") -> Target:
    """Ask OpenSSH itself what applies, so that Include, Match and ProxyJump mean here what they mean there."""
    try:
        asked = subprocess.run(
            ["ssh", "-G", "-T", *args, "--", destination],
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise ConfigError("the OpenSSH client is not installed", name, "Install it (openssh-client).") from None
    except subprocess.TimeoutExpired:
        hint = "Look for a slow `Match exec` in ~/.ssh/config."
        raise ConfigError("`ssh -G` did not answer within 30 s", name, hint) from None
    if asked.returncode:
        raise ConfigError(
            f"ssh rejects the configuration: {asked.stderr.strip()}",
            name,
            "Correct ~/.ssh/config or the host's ansible_ssh_* variables.",
        )
    return Target(name, destination, tuple(args), parse(asked.stdout), password)


def target_of(host: Host) -> Target:
    """Resolve an inventory host."""
    destination, args = arguments(host)
    password = variable(host, "ansible_password", "ansible_ssh_password", "ansible_ssh_pass")
    return resolve(host.name, destination, args, str(password or ""))


def jump_of(target: Target) -> Target | None:
    """The host that `target` is reached through, itself resolved; None where it is reached directly.

    As in OpenSSH, a hop takes its options from the ssh configuration file alone (`-F` is handed on).
    """
    spec = target.option("proxyjump", "none")
    if spec == "none":
        return None
    *before, last = spec.split(",")
    user, host, port = parse_hop(last)
    args = _config_file(target.arguments)
    args += ["-o", f'User="{user}"'] if user else []
    args += ["-o", f"Port={port}"] if port else []
    args += ["-J", ",".join(before)] if before else []
    return replace(resolve(target.host, host, args), jump=True)


def _paths(words: list[str]) -> list[str]:
    """Words that `ssh -G` printed unquoted as paths: together where only together they name something that exists."""
    for end in range(len(words), 1, -1):
        if Path(joined := " ".join(words[:end])).exists():
            return [joined, *_paths(words[end:])]
    return words[:1] + _paths(words[1:]) if words else []


def parse_hop(hop: str) -> tuple[str, str, str]:
    """`[ssh://][user@]host[:port]` -> user, host, port; empty where not given."""
    rest = hop.removeprefix("ssh://").rstrip("/")
    user, _, rest = rest.rpartition("@")
    if match := re.fullmatch(r"\[(.+)\](?::(\d+))?", rest):
        return user, match[1], match[2] or ""
    host, _, port = rest.rpartition(":") if rest.count(":") == 1 else (rest, "", "")
    return user, host, port


def _config_file(args: Sequence[str]) -> list[str]:
    for index, word in enumerate(args):
        if word == "-F" and index + 1 < len(args):
            return ["-F", args[index + 1]]
        if word.startswith("-F") and len(word) > 2:
            return [word]
    return []
