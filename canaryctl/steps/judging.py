"""Probe what hosts serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canaryctl.errors import HostError
from canaryctl.record.files import now
from canaryctl.work import Work

if TYPE_CHECKING:  # the probes bring an HTTP client along, which most commands do without
    from canaryctl.probe.context import ProbeContext


def check_probes(work: Work) -> None:
    """Find what is wrong with the probes before anything is changed. Raises ConfigError with file and line."""
    from canaryctl.probe.templates import check_templates

    check_templates(work.scene.probes, _probe_context(work))


def probe(work: Work) -> str:
    """Run the probes; returns the verdict over them. A host that SSH lost meanwhile is noted in `failures`."""
    from canaryctl.probe.results import overall
    from canaryctl.probe.runner import run_probes

    work.run.set("probed_from", now())
    results = run_probes(
        work.scene.probes,
        _probe_context(work),
        deadline=work.scene.policy.probe_deadline,
        on_event=work.run.event,
    )
    work.run.set("probed_until", now())
    work.run.probes([result.as_dict() for result in results])
    for result in results:
        for host in result.unreachable:
            work.failures[host] = HostError(
                f"the host was lost while '{result.name}' ran", host, "see whether it is up, then probe again"
            )
    return overall(results)


def _probe_context(work: Work) -> ProbeContext:
    from canaryctl.probe.context import ProbeContext

    return ProbeContext(
        environment=work.scene.environment.name,
        variables=work.names,
        connections=work.connections,
        project=work.scene.compose_project,
        sudo={host: facts.sudo for host, facts in work.facts.items()},
        scrub=work.run.scrub,
        limit=frozenset(work.facts),
    )
