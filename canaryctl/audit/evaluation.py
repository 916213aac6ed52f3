"""Apply the rules, and say which findings count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from canaryctl.audit.model import Finding, Found, HostConfig, Setup
from canaryctl.audit.registry import all_rules
from canaryctl.audit.rule import Ignore, Rule
from canaryctl.errors import HostError
from canaryctl.facts.host import HostFacts


def find_in_setup(setup: Setup) -> list[Finding]:
    """What the configuration alone shows."""
    return [
        _finding(rule, found, found.host)
        for rule in all_rules().values()
        for check in rule.of_setup
        for found in check(setup)
    ]


def find_on_host(facts: HostFacts, host: HostConfig) -> list[Finding]:
    """What a host's facts show."""
    return [
        _finding(rule, found, host.name)
        for rule in all_rules().values()
        for check in rule.of_host
        for found in check(facts, host)
    ]


def find_on_unreachable(failure: HostError, host: HostConfig) -> list[Finding]:
    """Why a host could not be looked at."""
    return [
        _finding(rule, found, host.name)
        for rule in all_rules().values()
        for check in rule.of_unreachable
        for found in check(failure, host)
    ]


def settle(
    findings: Iterable[Finding], ignores: Iterable[Ignore], of_host: Mapping[str, Iterable[Ignore]]
) -> list[Finding]:
    """Each thing once, worst first, those ignored marked with the reason.

    Args:
        ignores: for findings of every host and of the configuration.
        of_host: more, by host.
    """
    everywhere = {ignore.id: ignore.reason for ignore in ignores}
    by_host = {host: {ignore.id: ignore.reason for ignore in entries} for host, entries in of_host.items()}
    kept: dict[str, Finding] = {}
    for finding in findings:
        reason = everywhere.get(finding.id) or by_host.get(finding.host, {}).get(finding.id)
        kept.setdefault(finding.fingerprint, replace(finding, ignored=reason))
    return sorted(kept.values(), key=_order)


def _order(finding: Finding) -> tuple[bool, int, str, str, str]:
    return finding.ignored is not None, -finding.severity.rank, finding.host, finding.id, finding.where


def _finding(rule: Rule, found: Found, host: str) -> Finding:
    return Finding(
        id=rule.id,
        severity=found.severity or rule.severity,
        what=found.what,
        why=rule.why,
        fix=found.fix or rule.fix,
        host=host,
        file=found.file,
        line=found.line,
        subject=found.subject,
        diff=found.diff,
    )
