"""Secrets that have another value than on a host, and the services that must be started again for them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from canaryctl.facts.host import HostFacts, StateFacts
from canaryctl.plan.rendering import Rendering


class Wanted(Protocol):
    """What this module needs of a plan's target."""

    @property
    def rendering(self) -> Rendering: ...
    @property
    def secrets(self) -> str | None: ...
    @property
    def secret_macs(self) -> Mapping[str, str]: ...


def compare_secrets(wanted: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str]:
    """How each secret stands on a host: same, differs, missing or extra, from keyed digests by name."""
    return {
        name: "extra"
        if name not in wanted
        else "missing"
        if name not in there
        else "same"
        if there[name] == wanted[name]
        else "differs"
        for name in sorted({*wanted, *there})
    }


def secrets_reason(target: Wanted, facts: HostFacts) -> str:
    """Why the secrets file of a host is written anew, naming the secrets."""
    words = {"differs": "has another value", "missing": "is new", "extra": "is no longer asked for"}
    found = compare_secrets(target.secret_macs, facts.state.secret_macs)
    said = [f"{name} {words[how]}" for name, how in found.items() if how != "same"]
    return ", ".join(said) or "the file is written differently"


def rotation_reason(service: str, target: Wanted, facts: HostFacts) -> str:
    """Why a running service must be started again for a secret's sake, or ''."""
    changed = changed_secrets(target, facts.state)
    names = [name for name in target.rendering.secrets.get(service, ()) if name in changed]
    return f"uses {', '.join(names)}, which has another value" if names else ""


def changed_secrets(target: Wanted, state: StateFacts) -> set[str]:
    """Secrets that the services on a host have not been started with, as they are to be."""
    if target.secrets is None or state.secrets is None:
        return set()
    found = compare_secrets(target.secret_macs, state.secret_macs)
    return {name for name, how in found.items() if how in ("differs", "missing")} | set(state.secrets_unused)
