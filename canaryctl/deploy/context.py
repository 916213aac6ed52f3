"""One command at work on one environment: its hosts, what was observed, what has become of it, and the record of it.

`sequence.py` tells the story; the steps are the modules beside it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canaryctl.ansible import Session
from canaryctl.deploy.command import Command
from canaryctl.deploy.release import known_names, registries_of, settle_platform, with_own_release
from canaryctl.deploy.state import RunState, Served
from canaryctl.errors import HostError
from canaryctl.evidence.run import Listener, Run
from canaryctl.facts import HostFacts
from canaryctl.hosts import Fleet, observe
from canaryctl.hosts.scratch import make_scratch, remove_scratch
from canaryctl.images.registry import Registries
from canaryctl.plan.deployment import Deployment
from canaryctl.plan.mounts import asked
from canaryctl.plan.plan import Plan, make_plan
from canaryctl.plan.target import Target

if TYPE_CHECKING:
    from canaryctl.evidence.signatures import PublicKey

_INTERRUPTED_RELEASES = 2.0  # seconds for the locks of all hosts: who interrupts waits for ten at most, for everything


class RunContext:
    """What the steps of one run share. Use it as a context manager: it closes connections and removes its files.

    Attributes:
        command: what is being done.
        deployment: what it is about; replaced as a whole where the release turns out to be another.
        fleet: the hosts.
        run: the record. Written, never read to decide.
        state: what has become of the run so far.
        facts: what was observed last, by host; `before` is how hosts were when nobody else changed them any more.
        targets: what hosts with services should be, as the last plan has it.
        names: what templates see, of the release that the run is about.
    """

    def __init__(self, deployment: Deployment, run: Run, command: Command, listeners: Sequence[Listener] = ()) -> None:
        self.deployment, self.run, self.command, self.listeners = deployment, run, command, listeners
        self.state = RunState()
        self.facts: dict[str, HostFacts] = {}
        self.before: dict[str, HostFacts] = {}
        self.targets: dict[str, Target] = {}
        self.names: dict[str, Any] = {}
        self.fleet = Fleet(deployment.hosts, deployment.request.become_password)
        self.registries: Registries = registries_of(deployment.environment)
        self.ansible = Session()
        self.nonce = secrets.token_hex(16)
        self.scratch = make_scratch(memory())

    def __enter__(self) -> RunContext:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as leaving:  # each of these, whatever comes of the others; in reverse
            leaving.callback(remove_scratch, self.scratch)
            leaving.callback(self.ansible.close)
            leaving.callback(self.fleet.close)
            if self.fleet.locks.fleet is self.fleet:  # a rollback works under the failed run's
                stopped = self.state.outcome is not None and self.state.outcome.verdict == "interrupted"
                leaving.callback(self.fleet.locks.release, *([_INTERRUPTED_RELEASES] if stopped else []))

    @cached_property
    def signer(self) -> Path | PublicKey | None:
        """The key that this run signs its verdict with; None where nobody signs."""
        from canaryctl.evidence.signatures import find_signer

        return find_signer(self.deployment.configuration.signing)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """What is done meanwhile changes hosts."""
        with self.run.changing():
            self.state.changed = True
            yield

    # observe

    def observe(self, *, again: bool = False) -> None:
        """Read every host once, in parallel. Unreachable ones are noted in `state.failures`."""
        deployment, state = self.deployment, self.state
        began = time.monotonic()
        self.run.event("stage.started", stage="observe", hosts=[host.name for host in deployment.hosts])
        seen = observe(
            self.fleet,
            [name for name in self.fleet.hosts if name not in state.failures],
            stack=deployment.stack.stack,
            releases=self._release_directories(),
            nonce=self.nonce,
            mounts=asked(deployment.stack.mounts),
        )
        seconds = time.monotonic() - began
        self.facts = dict(seen.facts)
        state.failures |= seen.failures
        for host, facts in seen.facts.items():
            if again or host not in self.before:
                self.run.host_file(host, "facts.after.json" if again else "facts.before.json", without_mac(facts.raw))
            self.before.setdefault(host, facts)
            self.run.event("stage.finished", stage="observe", host=host, status="ok", seconds=seconds)
        for host, failure in seen.failures.items():
            self.run.stage("observe", host, "failed", seconds, message=str(failure.what))
        if any(facts.gpu_simulated for facts in seen.facts.values()):
            state.simulated = True
            self.run.set("simulated", True)

    def forget_before(self) -> None:
        """Take what is observed next for how the hosts were before this run: somebody has changed them meanwhile."""
        self.before, self.state.before_baseline = {}, {}

    def served_before(self, host: str) -> str | None:
        """Id of the release that a host served before this run."""
        facts = self.before.get(host)
        return (facts.state.current_release or {}).get("id") if facts else None

    def _release_directories(self) -> list[str]:
        """Directories whose files the plan compares; empty for commands that have no release."""
        if self.deployment.made is None:
            return []
        deployment = self.deployment
        return [deployment.rendering(h.name).directory for h in deployment.hosts if h.name in deployment.placed]

    def require_all_hosts(self) -> None:
        """Stop before any change when a host cannot be reached.

        Raises:
            HostError: names the host, or all of them.
        """
        failures = self.state.failures
        if not failures:
            return
        names = ", ".join(failures)
        first = next(iter(failures.values()))
        hint = first.hint.rstrip(". ")
        if len(failures) == 1:
            raise HostError(first.what, first.where or names, f"{hint}; or leave it out: --limit 'all:!{names}'")
        raise HostError(
            "; ".join(f"{host}: {failure.what}" for host, failure in failures.items()),
            names,
            f"{hint}; or leave them out with --limit",
        )

    # plan

    def check(self, *, probes: bool = True) -> None:
        """Find every fault that can be found without a host: images, secrets, probes, templates of all hosts."""
        self.deployment = with_own_release(self.deployment, self.registries)
        self.deployment.check(probes=probes)

    def plan(self) -> Plan:
        """The changes the observed hosts need, for a release of their platform."""
        architectures = {facts.arch for facts in self.facts.values() if facts.arch}
        self.deployment = deployment = settle_platform(self.deployment, architectures, self.registries)
        self.targets = deployment.targets(self.facts, self.nonce)
        return make_plan(
            deployment.stack,
            deployment.release,
            self.targets,
            self.facts,
            deployment.policies,
            known_names(deployment),
            leave_data=deployment.request.leave_data,
        )

    # record

    def record_plan(self, plan: Plan, *, done: Plan | None = None) -> None:
        """Put the plan and what it leads to into the record; `done` is what was made of an earlier one."""
        changes = [operation.as_dict() for made in (done, plan) if made for operation in made.operations]
        self.run.set("plan", {"changes": changes})
        self.run.event("plan", changes=changes)
        release = self.deployment.made
        if release is not None:
            known = release.as_dict()
            self.names = self.deployment.names
            self.state.release = Served(release.id, release.variant, known["images"], known["services"])
            self.run.set("release", {**known, "migration": None})
        self.run.set("left_alone", list(plan.left_alone))
        for note in plan.notes:
            self.run.note_once(note)

    def record_release(self, release: Served, named: str | None) -> None:
        """Make a release that hosts have what the run is about; `named` is the id that templates see."""
        self.state.release = release
        self.names = self.deployment.names_of(named or "", release.variant or "", release.tags)
        self.run.set("variant", release.variant)
        self.run.set("release", release.as_dict())

    def record_served(self) -> None:
        """Make the release that the hosts serve what the run is about; hosts that differ are a warning."""
        served = {host: facts.state.current_release or {} for host, facts in self.facts.items()}
        ids = {str(release["id"]) for release in served.values() if release.get("id")}
        if len(ids) > 1:
            self.run.warn(
                "the hosts serve different releases", hint="canaryctl status shows them; deploy to make them one"
            )
        first = next((release for release in served.values() if release.get("id")), {})
        self.record_release(served_of(first, next(iter(ids)) if len(ids) == 1 else None), first.get("id"))


def memory() -> str | None:
    """Where a run's private files go, so that secrets stay off the disk; None for the system's own place."""
    place = Path("/dev/shm")  # noqa: S108  private below
    return str(place) if place.is_dir() else None


def served_of(release: Mapping[str, Any], identity: str | None) -> Served:
    """A release.json of a host as what a run is about."""
    variant = release.get("variant")
    return Served(identity, variant, release.get("images") or {}, release.get("services") or {})


def without_mac(document: Mapping[str, Any]) -> dict[str, Any]:
    """Observed facts as evidence: keyed digests of secrets mean nothing to anybody else."""
    keyed = ("secrets", "secret_macs")
    state = {key: value for key, value in (document.get("state") or {}).items() if key not in keyed}
    return {**document, "state": state}
