"""Probe what hosts serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from canaryctl.errors import CanaryError, HostError
from canaryctl.observe import interpreter
from canaryctl.record.store import runs_under_way
from canaryctl.work import Work

if TYPE_CHECKING:  # the probes bring an HTTP client along, which most commands do without
    from canaryctl.config.probes import Probe
    from canaryctl.probe.context import ProbeContext
    from canaryctl.probe.results import ProbeResult


def check_probes(work: Work) -> None:
    """Find what is wrong with the probes before anything is changed. Raises ConfigError with file and line."""
    from canaryctl.probe.check import check_probes

    # Those that --skip leaves out have to be right as well: their fault would wait for the next deploy.
    check_probes(work.scene.probes, _probe_context(work))


def probe(work: Work) -> str:
    """Run the probes and record them; returns the verdict over them."""
    return record(work, run(work, work.run.event))


def run(work: Work, on_event: Callable[..., None]) -> list[ProbeResult]:
    """Run the probes that --only and --skip leave; `on_event` is told what goes on."""
    from canaryctl.probe.runner import run_probes

    return run_probes(_chosen(work), _probe_context(work), deadline=work.scene.policy.probe_deadline, on_event=on_event)


def record(work: Work, results: Sequence[ProbeResult]) -> str:
    """Put results into the record, and hosts that were lost into `failures`; returns the verdict over them."""
    from canaryctl.probe.results import overall

    work.run.probes([result.as_dict() for result in results])
    for result in results:
        for host in result.unreachable:
            work.failures[host] = HostError(
                f"the host was lost while '{result.name}' ran", host, "see whether it is up, then probe again"
            )
    return overall(results)


def proven(work: Work) -> str:
    """The verdict as the hosts' history has it: a pass of only some probes is `partial`, and proves none."""
    return "partial" if work.verdict == "passed" and work.run.document["partial"] else work.verdict


def _chosen(work: Work) -> tuple[Probe, ...]:
    """The probes that --only and --skip leave; the record says what they left out."""
    selection = work.scene.selection
    if selection.note and not work.run.document["partial"]:
        work.run.set("partial", True)
        work.run.note(selection.note)
    return selection.probes


def _probe_context(work: Work) -> ProbeContext:
    from canaryctl.probe.context import ProbeContext

    release = work.run.document["release"]
    images = {name: image.get("id") or "" for name, image in release["images"].items()}
    return ProbeContext(
        environment=work.scene.environment.name,
        variables=work.names,
        connections=work.connections,
        project=work.scene.compose_project,
        sudo={host: facts.sudo for host, facts in work.facts.items()},
        python={host: interpreter(work.scene.environment.hosts[host]) for host in work.facts},
        identities={service: images.get(image, "") for service, image in (release.get("services") or {}).items()},
        by_tag=frozenset(host for host, facts in work.facts.items() if facts.docker and facts.docker.containerd_store),
        run=work.run.id,
        others=lambda: _other_runs(work),
        secrets=_secrets(work),
        scrub=work.run.scrub,
        limit=frozenset(work.facts),
    )


def _other_runs(work: Work) -> list[str]:
    """Runs under way beside this one, a watch for instance, as far as this machine knows."""
    known = runs_under_way(work.run.path.parent.parent, work.scene.environment.name)
    return [run for run in known if run != work.run.id]


def _secrets(work: Work) -> dict[str, str]:
    """The stack's secrets. A missing one is an error only where a probe refers to secrets at all."""
    from canaryctl.probe.check import uses_secrets

    try:
        return dict(work.scene.secrets)
    except CanaryError:
        if uses_secrets(work.scene.probes):
            raise
        return {}
