"""One command at work on one environment: connections, what was observed, what was done, and the record of it.

`sequence.py` tells the story; the steps are the modules beside it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canaryctl import ansible
from canaryctl.ansible.scratch import make_scratch, remove_scratch
from canaryctl.errors import CanaryError, HostError
from canaryctl.evidence.run import Listener, Run
from canaryctl.facts import HostFacts
from canaryctl.hosts import Connections, observe
from canaryctl.plan.deployment import Scene
from canaryctl.plan.mounts import asked
from canaryctl.plan.plan import Plan, Target, make_plan

if TYPE_CHECKING:
    from canaryctl.deploy.locking import RunLock


class Work:
    """What the steps of one run share. Use it as a context manager: it closes connections and removes its files."""

    def __init__(self, scene: Scene, run: Run) -> None:
        self.scene, self.run = scene, run
        self.verdict = "passed"
        self.signs = True  # whether what it says of the release is known, and not only told by a host
        self.judged = False  # whether the verdict stands in the hosts' history
        self.collected = False
        self.policy_acted = False
        self.touched: dict[str, set[str]] = {}  # stages that have begun to change what a host serves, by host
        self.baseline: Mapping[str, Any] | None = None  # run.json of the run this one is measured by
        self.facts: dict[str, HostFacts] = {}
        self.before: dict[str, HostFacts] = {}  # as first observed, nobody else changing them any more
        self.before_baseline: Mapping[str, HostFacts] = {}  # of a candidate: as they were before its baseline
        self.listeners: Sequence[Listener] = ()
        # When services stopped serving for a release that then failed: (host, service) to an epoch by the host's clock.
        self.gone: dict[tuple[str, str], float] = {}
        self.targets: dict[str, Target] = {}
        self.names: dict[str, Any] = {}
        self.failures: dict[str, HostError] = {}
        self.start_failures: dict[str, CanaryError] = {}  # hosts that the deploy went on without
        self.crossing: dict[tuple[str, str], Any] = {}  # operations begun before the deploy, by probe and host
        self.other_release: CanaryError | None = None  # what runs is not what was judged: see judging.require_running
        self.held_back: tuple[str, ...] = ()  # hosts whose wave has not come
        self.lock: RunLock | None = None  # see locking.py
        self.connections = Connections(scene.hosts, scene.request.become_password)
        self.nonce = secrets.token_hex(16)
        memory = Path("/dev/shm")  # noqa: S108  private below; secrets stay off the disk
        self.scratch = make_scratch(str(memory) if memory.is_dir() else None)

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as leaving:  # each of these, whatever comes of the others; in reverse
            leaving.callback(remove_scratch, self.scratch)
            leaving.callback(ansible.close)
            leaving.callback(self.connections.close)
            if self.lock and self.lock.work is self:  # a rollback works under the failed run's
                leaving.callback(self.lock.release)

    # observe

    def observe(self, *, again: bool = False) -> None:
        """Read every host once, in parallel. Unreachable ones are noted in `failures`."""
        scene = self.scene
        began = time.monotonic()
        self.run.event("stage.started", stage="observe", hosts=[host.name for host in scene.hosts])
        seen = observe(
            self.connections,
            [host for host in scene.hosts if host.name not in self.failures],
            stack=scene.stack.stack,
            releases=self._release_directories(),
            nonce=self.nonce,
            become_password=scene.request.become_password,
            mounts=asked(scene.stack.mounts),
        )
        seconds = time.monotonic() - began
        self.facts = dict(seen.facts)
        scene.settle_platform({facts.arch for facts in self.facts.values() if facts.arch})
        self.failures |= seen.failures
        for host, facts in seen.facts.items():
            if again or host not in self.before:
                self.run.host_file(host, "facts.after.json" if again else "facts.before.json", without_mac(facts.raw))
            self.before.setdefault(host, facts)
            self.run.event("stage.finished", stage="observe", host=host, status="ok", seconds=seconds)
        for host, failure in seen.failures.items():
            self.run.stage("observe", host, "failed", seconds, message=str(failure.what))
        if any(facts.gpu_simulated for facts in seen.facts.values()):
            self.run.set("simulated", True)

    def forget_before(self) -> None:
        """Take what is observed next for how the hosts were before this run: somebody has changed them meanwhile."""
        self.before, self.before_baseline = {}, {}

    def served_before(self, host: str) -> str | None:
        """Id of the release that a host served before this run."""
        facts = self.before.get(host)
        return (facts.state.current_release or {}).get("id") if facts else None

    def _release_directories(self) -> list[str]:
        """Directories whose files the plan compares; empty for commands that have no release."""
        if "release" not in self.scene.__dict__:
            return []
        return [
            self.scene.rendering(host.name).directory for host in self.scene.hosts if host.name in self.scene.placed
        ]

    def require_all_hosts(self) -> None:
        """Stop before any change when a host cannot be reached.

        Raises:
            HostError: names the host, or all of them.
        """
        if not self.failures:
            return
        names = ", ".join(self.failures)
        first = next(iter(self.failures.values()))
        hint = first.hint.rstrip(". ")
        if len(self.failures) == 1:
            raise HostError(first.what, first.where or names, f"{hint}; or leave it out: --limit 'all:!{names}'")
        raise HostError(
            "; ".join(f"{host}: {failure.what}" for host, failure in self.failures.items()),
            names,
            f"{hint}; or leave them out with --limit",
        )

    # plan

    def plan(self) -> Plan:
        """The changes the observed hosts need."""
        self.targets = self.scene.targets(self.facts, self.nonce)
        scene = self.scene
        return make_plan(
            scene.stack,
            scene.release,
            self.targets,
            self.facts,
            scene.policies,
            scene.known,
            leave_data=scene.request.leave_data,
        )

    def record_plan(self, plan: Plan, *, earlier: bool = False) -> None:
        """Put the plan and what it leads to into the record; `earlier` keeps the changes made so far."""
        done = [c for c in self.run.document["plan"]["changes"] if c["stage"] == "provision"] if earlier else []
        changes = done + [change.as_dict() for change in plan.changes]
        self.run.set("plan", {"changes": changes})
        self.run.event("plan", changes=changes)
        if "release" in self.scene.__dict__:
            self.names = self.scene.names
            self.run.set("release", {**self.scene.release.as_dict(), "migration": None})
        self.run.set("left_alone", list(plan.left_alone))
        for note in plan.notes:
            if note not in self.run.document["notes"]:
                self.run.note(note)

    def record_served(self) -> None:
        """Put the release that the hosts serve into the record; hosts that differ are a warning."""
        served = {host: facts.state.current_release or {} for host, facts in self.facts.items()}
        ids = {str(release["id"]) for release in served.values() if release.get("id")}
        if len(ids) > 1:
            self.run.warn(
                "the hosts serve different releases", hint="canaryctl status shows them; deploy to make them one"
            )
        release = next((release for release in served.values() if release.get("id")), {})
        tags = {
            service: (release["images"].get(image) or {}).get("tag", "")
            for service, image in (release.get("services") or {}).items()
        }
        self.names = self.scene.names_of(str(release.get("id", "")), str(release.get("variant", "")), tags)
        self.run.set("variant", release.get("variant"))
        self.run.set(
            "release",
            {
                "id": next(iter(ids)) if len(ids) == 1 else None,
                "images": release.get("images", {}),
                "services": release.get("services", {}),
                "migration": None,
            },
        )


def without_mac(document: Mapping[str, Any]) -> dict[str, Any]:
    """Observed facts as evidence: keyed digests of secrets mean nothing to anybody else."""
    keyed = ("secrets", "secret_macs")
    state = {key: value for key, value in (document.get("state") or {}).items() if key not in keyed}
    return {**document, "state": state}
