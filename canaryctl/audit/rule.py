"""What a rule is: its words, and the functions that look."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from canaryctl.audit.model import Found, HostConfig, Setup, Severity
from canaryctl.errors import HostError
from canaryctl.facts.host import HostFacts

OfHost = Callable[[HostFacts, HostConfig], Iterable[Found]]
OfUnreachable = Callable[[HostError, HostConfig], Iterable[Found]]
OfSetup = Callable[[Setup], Iterable[Found]]


@dataclass
class Rule:
    """A rule: `title` says what it finds, `why` what it costs, `fix` what to do. Its checks are decorated with it."""

    id: str
    severity: Severity
    title: str
    why: str
    fix: str
    of_host: list[OfHost] = field(default_factory=list)
    of_unreachable: list[OfUnreachable] = field(default_factory=list)
    of_setup: list[OfSetup] = field(default_factory=list)

    def host(self, check: OfHost) -> OfHost:
        """Use a function over one host's facts and configuration."""
        self.of_host.append(check)
        return check

    def unreachable(self, check: OfUnreachable) -> OfUnreachable:
        """Use a function over the failure to look at a host."""
        self.of_unreachable.append(check)
        return check

    def setup(self, check: OfSetup) -> OfSetup:
        """Use a function over the configuration alone."""
        self.of_setup.append(check)
        return check

    @property
    def part(self) -> str:
        """The part of an environment it is about: the name of its module."""
        checks = [*self.of_host, *self.of_unreachable, *self.of_setup]
        return checks[0].__module__.rpartition(".")[2]

    @property
    def offline(self) -> bool:
        """Whether the configuration alone can show it."""
        return bool(self.of_setup)


@dataclass(frozen=True)
class Ignore:
    """Findings of a rule that do not count, and why."""

    id: str
    reason: str
