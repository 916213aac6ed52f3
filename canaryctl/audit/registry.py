"""The rules there are: each with its words and the functions that look."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

from canaryctl.audit.model import Found, HostConfig, Setup, Severity
from canaryctl.errors import ConfigError, HostError
from canaryctl.facts.host import HostFacts

OfHost = Callable[[HostFacts, HostConfig], Iterable[Found]]
OfUnreachable = Callable[[HostError, HostConfig], Iterable[Found]]
OfSetup = Callable[[Setup], Iterable[Found]]

_RULES: dict[str, Rule] = {}


@dataclass
class Rule:
    """A rule: `title` says what it finds, `why` what it costs, `fix` what to do. The checks register themselves."""

    id: str
    severity: Severity
    title: str
    why: str
    fix: str
    of_host: list[OfHost] = field(default_factory=list)
    of_unreachable: list[OfUnreachable] = field(default_factory=list)
    of_setup: list[OfSetup] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.id in _RULES:
            raise ValueError(f"two rules are named {self.id}")
        _RULES[self.id] = self

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


@cache
def all_rules() -> dict[str, Rule]:
    """Every rule by id, in the order of the reference."""
    from canaryctl.audit.rules import configuration, connection, docker, gpu, release, system

    parts = [module.__name__.rpartition(".")[2] for module in (connection, system, docker, gpu, release, configuration)]
    return {rule.id: rule for rule in sorted(_RULES.values(), key=lambda rule: parts.index(rule.part))}


def unknown_ids(ids: Iterable[str]) -> list[str]:
    """The ids that no rule has."""
    return [wanted for wanted in ids if wanted not in all_rules()]


def require_known(ids: Iterable[str], where: str) -> None:
    """Raises ConfigError naming the first id that no rule has, and the nearest that there is."""
    for wanted in unknown_ids(ids):
        near = difflib.get_close_matches(wanted, all_rules(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ConfigError(f"no rule is named '{wanted}'", where, f"{hint}docs/audit.md lists them all")
