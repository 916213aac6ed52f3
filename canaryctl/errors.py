"""Errors an operator can act on: what happened, where, and what to do next.

Each class carries the exit code of the command-line contract. Anything else that escapes is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

# Which code wins when several apply (the command-line contract's order).
EXIT_PRECEDENCE = (130, 5, 2, 3, 6, 1, 4, 0)


class CanaryError(Exception):
    """An expected failure.

    Args:
        what: what happened, one sentence.
        where: file:line, host, service or image it concerns; empty when `what` says it.
        hint: what the operator can do next; empty only when there is nothing to say.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.hint = what, where, hint

    def as_dict(self) -> dict[str, str]:
        """The `error` object of run.json."""
        return {"what": self.what, "where": self.where, "hint": self.hint}

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigError(CanaryError):
    """Wrong usage or configuration; nothing was touched (exit 2)."""


class HostError(CanaryError):
    """A host could not be reached, authenticated or given sudo (exit 3). `where` is the host's name.

    `reason` tells kinds apart: unreachable, host-key-unknown, host-key-changed, python, agent, sudo.
    """

    exit_code = 3

    def __init__(self, what: str, where: str = "", hint: str = "", *, reason: str = "unreachable") -> None:
        super().__init__(what, where, hint)
        self.reason = reason


class ApplyError(CanaryError):
    """Changing a host failed (exit 6). `stage` and `host` say where; `detail` holds output worth keeping."""

    exit_code = 6

    def __init__(
        self, what: str, where: str = "", hint: str = "", *, stage: str = "", host: str = "", detail: str = ""
    ) -> None:
        super().__init__(what, where or host, hint)
        self.stage, self.host, self.detail = stage, host, detail


class GateError(ApplyError):
    """The probes failed on the first wave of hosts, and the others were not started (exit 1)."""

    exit_code = 1


class OtherReleaseError(CanaryError):
    """Something else runs than the release that is judged (exit 1). `where` names the hosts."""

    exit_code = 1


class ContractError(CanaryError):
    """An image does not keep its contract (exit 1). `where` is the image."""

    exit_code = 1


class UnjudgedError(CanaryError):
    """Whether an image keeps its contract could not be told (exit 4). `where` is the image."""

    exit_code = 4


class LockedError(CanaryError):
    """Another operator holds the lock (exit 5)."""

    exit_code = 5


class Interrupted(CanaryError):  # noqa: N818  a signal, not a fault
    """The operator stopped the command (exit 130)."""

    exit_code = 130


def worst_exit(codes: Iterable[int]) -> int:
    """The exit code that applies when several outcomes meet."""
    found = set(codes)
    return next((code for code in EXIT_PRECEDENCE if code in found), max(found, default=0))
