"""The command audit: look at an environment's configuration and hosts, judge both by rules, change nothing."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from canaryctl import __version__
from canaryctl.audit.compare import compare_findings
from canaryctl.audit.evaluation import find_in_setup, find_on_host, find_on_unreachable, settle
from canaryctl.audit.model import Finding
from canaryctl.audit.registry import all_rules, require_known, unknown_ids
from canaryctl.audit.rule import Ignore
from canaryctl.audit.sarif import to_sarif
from canaryctl.audit.severity import Severity
from canaryctl.audit.snapshot import Snapshot, as_served, begin, complete
from canaryctl.config.environment import Environment, match_hosts
from canaryctl.config.evidencegroup import evidence_group
from canaryctl.config.passwords import connection_passwords
from canaryctl.config.scrub import Scrubber
from canaryctl.config.yamlfile import shown
from canaryctl.deploy.context import without_mac
from canaryctl.errors import CanaryError, ConfigError, HostError, Interrupted, worst_exit
from canaryctl.evidence.document import RunIdentity
from canaryctl.evidence.report import render_findings_markdown as findings_markdown
from canaryctl.evidence.run import Listener, Run
from canaryctl.evidence.store import load_run
from canaryctl.evidence.templating import warm_up
from canaryctl.facts import HostFacts
from canaryctl.hosts import Fleet, Observation, observe
from canaryctl.plan.deployment import Request
from canaryctl.plan.mounts import asked

Document = dict[str, Any]
__all__ = ["AuditOptions", "audit", "findings_markdown", "findings_sarif"]


@dataclass(frozen=True)
class AuditOptions:
    """What the operator asked for.

    `fail_on`: the mildest severity that fails the audit. `ignore`: ids of rules whose findings do not count.
    `compare`: an earlier audit, by id, unique prefix, `ENVIRONMENT/ID` or directory.
    """

    offline: bool = False
    fail_on: Severity = Severity.ERROR
    ignore: tuple[str, ...] = ()
    compare: str | None = None


def audit(request: Request, options: AuditOptions, listeners: Sequence[Listener]) -> Document:
    """Find what is wrong with an environment. Hosts that cannot be reached are findings too; the others go on.

    Raises:
        ConfigError: no such environment, rule, host or run to compare with.
    """
    require_known(options.ignore, "--ignore")
    before = _earlier(request, options.compare)
    seen = begin(request)
    chosen = match_hosts(seen.environment, request.limit) if seen.environment else []
    with _recorded(request, seen, listeners) as run:
        _warn_of_unknown_ids(run, seen)
        observed = Observation()
        with ThreadPoolExecutor(1) as meanwhile:
            preparing = meanwhile.submit(_prepare, run, seen)
            if seen.environment and not options.offline:
                observed = _observe(run, seen, seen.environment, chosen)
            preparing.result()
        findings = _evaluate(seen, observed, chosen, options)
        rows = [finding.as_dict() for finding in findings]
        run.set("findings", rows)
        run.set("audit", _summary(options, findings, before, rows))
        _finish(run, observed, findings, options)
    return run.document


def findings_sarif(document: Document) -> Document:
    """An audit's findings as SARIF, which code hosts show at the lines."""
    return to_sarif(document["findings"], all_rules().values(), __version__)


def _earlier(request: Request, wanted: str | None) -> Document | None:
    if wanted is None:
        return None
    stored = load_run(request.project.runs, wanted)
    if stored.document.get("command") != "audit" or not isinstance(stored.document.get("findings"), list):
        raise ConfigError(
            f"{stored.path.name} is no audit", shown(stored.path), "canaryctl runs list shows which runs are audits"
        )
    return stored.document


def _passwords(seen: Snapshot) -> dict[str, str]:
    hosts = seen.environment.hosts if seen.environment else {}
    return connection_passwords(hosts, seen.request.become_password)


def _prepare(run: Run, seen: Snapshot) -> None:
    """What takes no host: done while they are asked."""
    complete(seen)
    run.scrub = Scrubber({**_passwords(seen), **seen.secrets})
    warm_up()


def _warn_of_unknown_ids(run: Run, seen: Snapshot) -> None:
    named = {entry[0] for policy in seen.policies.values() for entry in policy.audit_ignore}
    for unknown in unknown_ids(sorted(named)):
        run.warn(f"canary_audit_ignore names no rule: {unknown}", seen.setup.directory, "docs/audit.md lists them")


def _observe(run: Run, seen: Snapshot, environment: Environment, chosen: Sequence[str]) -> Observation:
    """One connection and one round trip to each host, all at once."""
    hosts = environment.limited(chosen)
    began = time.monotonic()
    run.event("stage.started", stage="observe", hosts=list(chosen))
    with Fleet(hosts, seen.request.become_password) as fleet:
        observed = observe(
            fleet,
            fleet.hosts,
            stack=seen.stack.stack if seen.stack else "",
            nonce=secrets.token_hex(16),
            mounts=asked(seen.stack.mounts) if seen.stack else (),
            audit=True,
        )
    seconds = time.monotonic() - began
    for host, facts in observed.facts.items():
        run.host_file(host, "facts.before.json", without_mac(facts.raw))
        run.stage("observe", host, "ok", seconds)
    for host, failure in observed.failures.items():
        run.stage("observe", host, "failed", seconds, message=failure.what)
    if any(facts.gpu_simulated for facts in observed.facts.values()):
        run.set("simulated", True)
    _record_served(run, observed.facts)
    return observed


def _record_served(run: Run, facts: dict[str, HostFacts]) -> None:
    served = [found.state.current_release or {} for found in facts.values()]
    ids = {release.get("id") for release in served}
    if len(ids) == 1 and served[0]:
        run.set("variant", served[0].get("variant"))
        kept = {key: served[0].get(key) or {} for key in ("images", "services")}
        run.set("release", {"id": served[0].get("id"), **kept, "migration": None})


def _evaluate(seen: Snapshot, observed: Observation, chosen: Sequence[str], options: AuditOptions) -> list[Finding]:
    found = [finding for finding in find_in_setup(seen.setup) if not finding.host or finding.host in chosen]
    for facts in observed.facts.values():
        found += find_on_host(facts, as_served(seen, facts))
    for host, failure in observed.failures.items():
        found += find_on_unreachable(failure, seen.hosts[host])
    ignores = [Ignore(wanted, "asked for with --ignore") for wanted in options.ignore]
    policies = [tuple(Ignore(*entry) for entry in policy.audit_ignore) for policy in seen.policies.values()]
    common = set(policies[0]).intersection(*policies[1:]) if policies else set()
    of_host = {host: [Ignore(*e) for e in policy.audit_ignore] for host, policy in seen.policies.items()}
    return settle(found, [*ignores, *common], of_host)


def _summary(
    options: AuditOptions, findings: Sequence[Finding], before: Document | None, rows: list[Document]
) -> Document:
    counts = {str(severity): 0 for severity in reversed(Severity)}
    for finding in findings:
        if finding.ignored is None:
            counts[finding.severity] += 1
    compared = None
    if before is not None:
        compared = {"run": before["id"], **compare_findings(before["findings"], rows)}
    return {
        "offline": options.offline,
        "fail_on": str(options.fail_on),
        "counts": counts,
        "ignored": sum(finding.ignored is not None for finding in findings),
        "compared": compared,
    }


def _finish(run: Run, observed: Observation, findings: Sequence[Finding], options: AuditOptions) -> None:
    bad = any(f.ignored is None and f.severity.rank >= options.fail_on.rank for f in findings)
    refused = next((facts for facts in observed.facts.values() if facts.become == "refused"), None)
    error: HostError | None = next(iter(observed.failures.values()), None)
    if error is None and refused is not None:
        try:
            refused.require_privilege()
        except HostError as why:
            error = why
    verdict = "failed" if bad else "error" if error else "passed"
    run.finish(verdict, worst_exit({1 if bad else 0, 3 if error else 0}), error)


@contextmanager
def _recorded(request: Request, seen: Snapshot, listeners: Sequence[Listener]) -> Iterator[Run]:
    """A run that is finished whatever happens. It needs no configuration that can be read: that is what is audited."""
    group, fault = None, None
    try:
        group = evidence_group(seen.environment) if seen.environment else None
    except ConfigError as error:
        fault = error
    run = Run.start(
        request.project.runs,
        RunIdentity("audit", request.environment, seen.stack.stack if seen.stack else ""),
        project_root=request.project.root,
        scrub=Scrubber(_passwords(seen)),
        listeners=listeners,
        group=group,
    )
    if fault:
        run.warn(fault.what, fault.where, fault.hint)
    try:
        yield run
    except CanaryError as error:
        run.finish("error", error.exit_code, error)
    except KeyboardInterrupt:
        run.finish("interrupted", 130, Interrupted("interrupted by the operator", "", "nothing was changed"))
    except BaseException as error:
        run.finish("error", 1, error)
        raise
