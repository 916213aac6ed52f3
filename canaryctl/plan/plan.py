"""The plan: what would take the hosts from what was observed to what the release wants. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from canaryctl.config.policy import Policy
from canaryctl.config.stack import Stack
from canaryctl.errors import ApplyError, CanaryError
from canaryctl.facts.host import HostFacts
from canaryctl.plan.gpus import GpuRequest, busy_problems, busy_with, gpu_problems, others_on, unchecked, wants_of
from canaryctl.plan.leftdata import Known, LeftDataError, data_problems, hidden_content, left_behind
from canaryctl.plan.mounts import mount_problems
from canaryctl.plan.operations.migrate import to_migrate
from canaryctl.plan.operations.operation import Operation
from canaryctl.plan.operations.provision import access_problems, docker_silent, to_provision
from canaryctl.plan.operations.push import push_problems, to_push
from canaryctl.plan.operations.render import to_render
from canaryctl.plan.operations.start import StartService, other_projects, port_problems, to_start
from canaryctl.plan.release import Release
from canaryctl.plan.releasefiles import current_problems, foreign_notes
from canaryctl.plan.room import room_problems
from canaryctl.plan.target import Target

STAGES = ("provision", "push", "render", "migrate", "start")

Kind = TypeVar("Kind", bound=Operation)


@dataclass(frozen=True)
class Plan:
    """Operations in the order they are done; `problems` forbid doing any; `notes` are said and change nothing.

    `left_alone` is what others have on the hosts.
    """

    operations: tuple[Operation, ...] = ()
    problems: tuple[CanaryError, ...] = ()
    notes: tuple[str, ...] = ()
    left_alone: tuple[str, ...] = ()

    def hosts(self, stage: str) -> list[str]:
        """Hosts that a stage changes."""
        return list(dict.fromkeys(operation.host for operation in self.operations if operation.stage == stage))

    def only(self, stage: str) -> Plan:
        """The part of the plan that one stage does."""
        return replace(self, operations=tuple(one for one in self.operations if one.stage == stage))

    def of(self, kind: type[Kind], host: str | None = None) -> list[Kind]:
        """The operations of one kind, of all hosts or of one."""
        return [one for one in self.operations if isinstance(one, kind) and host in (None, one.host)]

    def within(self, agreed: Plan) -> bool:
        """Whether it does nothing that is not in a plan that somebody has agreed with, whatever the reasons."""
        known = [replace(one, reason="") for one in agreed.operations]
        return all(replace(one, reason="") in known for one in self.operations)

    def problems_before_end_of(self, stage: str) -> list[CanaryError]:
        """Problems that stand in the way of a stage: its own and those of earlier ones."""
        return [
            problem
            for problem in self.problems
            if not (
                isinstance(problem, (ApplyError, LeftDataError)) and STAGES.index(problem.stage) > STAGES.index(stage)
            )
        ]


def make_plan(
    stack: Stack,
    release: Release,
    targets: Mapping[str, Target],
    facts: Mapping[str, HostFacts],
    policies: Mapping[str, Policy],
    known: Known = Known(),  # noqa: B008  frozen
    *,
    leave_data: bool = False,
) -> Plan:
    """Compare what is with what should be.

    Args:
        targets: by host; hosts without facts (unreachable, or left out by --limit) are not planned for.
        policies: by host.
        leave_data: whether databases may start without the data that they had under another name.
    """
    parts = [
        _plan_host(stack, release, target, facts[host], policies[host], known, leave_data=leave_data)
        for host, target in targets.items()
        if host in facts
    ]
    operations = [operation for part in parts for operation in part.operations]
    operations += to_migrate(stack, release, targets, facts)
    order = {host: index for index, host in enumerate(targets)}
    operations.sort(key=lambda operation: (STAGES.index(operation.stage), order[operation.host]))
    return Plan(
        tuple(operations),
        tuple(problem for part in parts for problem in part.problems),
        (*_left_out(stack, targets), *(note for part in parts for note in part.notes)),
        tuple(entry for part in parts for entry in part.left_alone),
    )


def _plan_host(
    stack: Stack, release: Release, target: Target, seen: HostFacts, policy: Policy, known: Known, *, leave_data: bool
) -> Plan:
    """The plan of one host, the migration apart."""
    host, wants = seen.host, wants_of(stack, release.variant, target.rendering.services)
    others = other_projects(stack, target, seen)
    provision, unready = to_provision(host, seen, policy, wants)
    if docker_silent(seen):  # what runs there, which images are there, whose ports are taken: nobody knows
        return Plan(problems=(*access_problems(seen), *unready))
    render = to_render(host, target, seen)
    start = to_start(host, release, target, seen, others)
    left = left_behind(stack, target.rendering, target.project, others, seen, known)
    data_notes, data_lost = data_problems(left, agreed=leave_data)
    renewed = {one.service for one in start if isinstance(one, StartService) and one.renewed}
    return Plan(
        operations=(
            *provision,
            *to_push(host, release, target.rendering.services, seen, policy),
            *render,
            *start,
        ),
        problems=(
            *access_problems(seen),
            *unready,
            *push_problems(host, release, target.rendering.services, seen),
            *port_problems(host, target, seen, others),
            *mount_problems(host, target.mounts, seen.mounts),
            *(room_problems(host, target, seen) if render or start else ()),
            *current_problems(seen),
            *gpu_problems(seen, policy, wants),
            *(busy_problems(seen, policy, wants, stack.stack) if start else ()),
            *data_lost,
        ),
        notes=(
            *foreign_notes(seen, target.rendering.directory),
            *(f"{host}: {sentence}" for sentence in seen.odd),
            *unchecked(seen, policy, wants),
            *(f"others use the GPUs: {process}" for process in (busy_with(seen, stack.stack) if wants else ())),
            *(f"{host}: {said}" for said in (*_unconfirmed(seen), *_hanging(seen))),
            *data_notes,
            *hidden_content(target.rendering, target.project, seen, renewed),
        ),
        left_alone=tuple(others_on(seen, stack.stack)),
    )


def _unconfirmed(seen: HostFacts) -> list[str]:
    """What is to be said of a change that a host has taken back by itself, or will."""
    change = seen.state.change
    return [change.words(seen.time)] if change and (change.is_open or change.went_back) else []


def _hanging(seen: HostFacts) -> list[str]:
    """Containers that Docker says nothing about: it will not replace them either."""
    names = ", ".join(container.name for container in seen.containers if container.silent)
    hint = "it may hang where Docker cannot end it; systemctl restart docker, or a reboot, may help"
    return [f"Docker says nothing about container {names}: {hint}"] if names else []


def plan_provision(
    facts: Mapping[str, HostFacts],
    policies: Mapping[str, Policy],
    wants: Mapping[str, tuple[GpuRequest, ...]] | None = None,
) -> Plan:
    """What hosts lack to run containers. Asked for by name, `check` installs as well.

    Args:
        wants: by host, the services placed there that get GPUs.
    """
    operations: list[Operation] = []
    problems: list[CanaryError] = []
    for host, seen in facts.items():
        policy = replace(policies[host], provision="auto")
        lacking, hopeless = to_provision(host, seen, policy, (wants or {}).get(host, ()))
        operations += lacking
        problems += [*(access_problems(seen) if lacking else ()), *hopeless]
    return Plan(tuple(operations), tuple(problems))


def _left_out(stack: Stack, targets: Mapping[str, Target]) -> list[str]:
    placed = {service for target in targets.values() for service in target.rendering.services}
    left_out = [service for service in stack.optional if service not in placed]
    return [f"{service} is optional and left out: its group has no host here" for service in left_out]
