"""The rules there are: those of every module of `rules/`."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib import import_module

from canaryctl.audit import rules
from canaryctl.audit.rule import Rule
from canaryctl.errors import ConfigError

_FIRST = ("connection", "system", "docker", "gpu", "release")  # in the reference; then what else there is


@cache
def all_rules() -> dict[str, Rule]:
    """Every rule by id, in the order of the reference."""
    parts = sorted(module.name for module in pkgutil.iter_modules(rules.__path__))
    found: dict[str, Rule] = {}
    for part in [*_FIRST, *(part for part in parts if part not in _FIRST)]:
        for rule in vars(import_module(f"{rules.__name__}.{part}")).values():
            if isinstance(rule, Rule) and found.setdefault(rule.id, rule) is not rule:
                raise ValueError(f"two rules are named {rule.id}")
    return found


def unknown_ids(ids: Iterable[str]) -> list[str]:
    """The ids that no rule has."""
    return [wanted for wanted in ids if wanted not in all_rules()]


def require_known(ids: Iterable[str], where: str) -> None:
    """Raises ConfigError naming the first id that no rule has, and the nearest that there is."""
    for wanted in unknown_ids(ids):
        near = difflib.get_close_matches(wanted, all_rules(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ConfigError(f"no rule is named '{wanted}'", where, f"{hint}docs/audit.md lists them all")
