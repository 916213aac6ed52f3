"""Secrets that have another value than on a host, and the services that must be started again for them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from canaryctl.facts.host import HostFacts, StateFacts
from canaryctl.plan.target import Target


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


def secrets_reason(target: Target, facts: HostFacts) -> str:
    """Why the secrets file of a host is written anew, naming the secrets."""
    words = {"differs": "has another value", "missing": "is new", "extra": "is no longer asked for"}
    compared = compare_secrets(target.secret_macs, facts.state.secret_macs)
    sentences = [f"{name} {words[how]}" for name, how in compared.items() if how != "same"]
    return ", ".join(sentences) or "the file is written differently"


def rotation_reason(service: str, target: Target, facts: HostFacts) -> str:
    """Why a running service must be started again for a secret's sake, or ''."""
    changed = _changed_secrets(target, facts.state)
    names = [name for name in target.rendering.secrets.get(service, ()) if name in changed]
    return f"uses {', '.join(names)}, which has another value" if names else ""


def _changed_secrets(target: Target, state: StateFacts) -> set[str]:
    """Secrets that the services on a host have not been started with, as they are to be."""
    if target.secrets is None or state.secrets is None:
        return set()
    compared = compare_secrets(target.secret_macs, state.secret_macs)
    return {name for name, how in compared.items() if how in ("differs", "missing")} | set(state.secrets_unused)
