"""What commands differ in, as data: nothing in here is decided by a command's name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command that works on an environment.

    Attributes:
        name: as run.json, the lock and the hosts' history have it.
        role: of two deploys that are compared: baseline or candidate.
        follows_policy: whether canary_on_failure is obeyed where it fails after a change.
        checks_contracts: whether images must keep their contracts before they are used.
        carries_operations: whether operations of probes go on across it.
        shows_diff: whether what changes in the compose file is always shown.
        notifies: whether a webhook is told how it ended.
        adds_only: whether it puts things beside what runs, and so is in the way of none of its kind.
    """

    name: str
    role: str | None = None
    follows_policy: bool = True
    checks_contracts: bool = False
    carries_operations: bool = False
    shows_diff: bool = False
    notifies: bool = False
    adds_only: bool = False

    @property
    def is_baseline(self) -> bool:
        """Whether a candidate takes its place, whatever becomes of it."""
        return self.role == "baseline"

    @property
    def is_candidate(self) -> bool:
        """Whether a baseline was deployed for it to be measured by."""
        return self.role == "candidate"


DEPLOY = Command("deploy", notifies=True, checks_contracts=True, carries_operations=True)
PROVISION = Command("provision")
STAGES = {
    "push": Command("push", checks_contracts=True, adds_only=True),
    "render": Command("render", shows_diff=True),
    "migrate": Command("migrate"),
    "start": Command("start"),
}
PROBE = Command("probe")
COLLECT = Command("collect")
DOWN = Command("down", follows_policy=False)
ROLLBACK = Command("rollback", notifies=True, follows_policy=False)
PLAN = Command("plan")
