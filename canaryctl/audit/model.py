"""What rules look at, and what they find."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from canaryctl.audit.inventory import Inventory
from canaryctl.audit.severity import Severity as Severity
from canaryctl.config.stack import Mount


@dataclass(frozen=True)
class Found:
    """What a rule says of one thing. `subject` names that thing, the same in every audit.

    `fix`, `severity` and `file` override or complete what the rule says. `host` is for rules over the configuration.
    """

    what: str
    subject: str = ""
    fix: str = ""
    severity: Severity | None = None
    host: str = ""
    file: str = ""
    line: int = 0
    diff: str = ""


@dataclass(frozen=True)
class Finding:
    """One finding of an audit. `ignored` is the reason why it does not count, None where it does."""

    id: str
    severity: Severity
    what: str
    why: str
    fix: str
    host: str = ""
    file: str = ""
    line: int = 0
    subject: str = ""
    diff: str = ""
    ignored: str | None = None

    @property
    def where(self) -> str:
        """The host, or file:line, or both."""
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (self.host, place) if part)

    @property
    def fingerprint(self) -> str:
        """The same in two audits for the same thing, whatever its figures."""
        place = (self.id, self.host, "" if self.host else self.file, self.subject or self.what)
        return hashlib.sha256("\0".join(place).encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """As in run.json."""
        return {
            "id": self.id,
            "severity": str(self.severity),
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "fix": self.fix,
            "host": self.host or None,
            "file": self.file or None,
            "line": self.line or None,
            "diff": self.diff or None,
            "ignored": self.ignored,
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True)
class ConfigIssue:
    """A part of the configuration that cannot be read or used.

    `kind`: inventory, stack, policy, placement, template, probes or secrets.
    """

    kind: str
    what: str
    where: str = ""
    hint: str = ""


@dataclass(frozen=True)
class HostConfig:
    """One host as the configuration has it. `ports` are (address, port, service) that its rendering publishes.

    `gpu_services` are those on images that require a GPU, `cuda` the newest CUDA these say they need.
    `files` and `directory` are what this machine renders of the release that the host serves; empty where it cannot.
    """

    name: str
    groups: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    stack: str = ""
    project: str = ""
    root: str = ""
    services: tuple[str, ...] = ()
    gpu_services: tuple[str, ...] = ()
    cuda: str = ""
    ports: tuple[tuple[str, int, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    directory: str = ""


@dataclass(frozen=True)
class Setup:
    """A whole environment as the configuration has it. `placement` is the stack's: group to services."""

    environment: str
    directory: str = ""
    inventory: Inventory = field(default_factory=Inventory)
    hosts: Mapping[str, HostConfig] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    placement: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    placement_where: str = ""
    compose_where: str = ""
    issues: tuple[ConfigIssue, ...] = ()
