"""The plan: what would take the hosts from what was observed to what the release wants. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from canaryctl.config.policy import Policy
from canaryctl.config.stack import Mount, Stack
from canaryctl.config.versions import version_of
from canaryctl.errors import ApplyError, CanaryError, HostError
from canaryctl.facts.audit import MountFacts
from canaryctl.facts.host import ContainerFacts, HostFacts
from canaryctl.plan.definitions import mounts_of_healed, other_definitions
from canaryctl.plan.gpus import (
    GpuRequest,
    busy_problems,
    busy_with,
    gpu_lacks,
    gpu_problems,
    others_on,
    unchecked,
    wants_of,
)
from canaryctl.plan.leftdata import Known, LeftDataError, data_problems, hidden_content, left_behind
from canaryctl.plan.mounts import mount_faults
from canaryctl.plan.ports import taken_ports
from canaryctl.plan.release import ImageFact, Release, content_tag, tag_taken
from canaryctl.plan.releasefiles import current_problems, drifted_files, foreign_notes
from canaryctl.plan.rendering import Rendering
from canaryctl.plan.rotation import rotation_reason, secrets_reason

STAGES = ("provision", "push", "render", "migrate", "start")
# docker compose learnt `up --wait` and `pull_policy: never` well before; this is the oldest release we rely on, and the
# one that the role docker_engine installs where there is an older one (docker_engine_compose_minimum).
OLDEST_COMPOSE = version_of("2.20")
HEADROOM = 1.2
OTHER_IMAGE = "runs another image"
GPU_WORK = "install the NVIDIA container toolkit"


@dataclass(frozen=True)
class Change:
    """One thing a stage would do on one host, and why."""

    host: str
    stage: str
    what: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        """As in plan.json and run.json."""
        return {"host": self.host, "stage": self.stage, "what": self.what, "reason": self.reason}


@dataclass(frozen=True)
class Target:
    """What one host of an environment should be: its rendering and the keyed digest of its secrets file.

    `secrets` is HMAC-SHA256 (hex) of the wanted secrets file under the observation's nonce, or None for no secrets;
    `secret_macs` are the same of its lines by name.
    `mounts` are those that must be there before anything that uses them runs.
    """

    rendering: Rendering
    project: str
    secrets: str | None
    mounts: tuple[Mount, ...] = ()
    secret_macs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Changes in the order they are made; `problems` forbid making any; `notes` are said and change nothing.

    `left_alone` is what others have on the hosts.
    """

    changes: tuple[Change, ...] = ()
    problems: tuple[CanaryError, ...] = ()
    notes: tuple[str, ...] = ()
    replaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_alone: tuple[str, ...] = ()

    def hosts(self, stage: str) -> list[str]:
        """Hosts that a stage changes."""
        return list(dict.fromkeys(change.host for change in self.changes if change.stage == stage))

    def within(self, agreed: Plan) -> bool:
        """Whether it makes nothing that is not in a plan that somebody has agreed with."""
        return set(self.changes) <= set(agreed.changes)

    def only(self, stage: str) -> Plan:
        """The part of the plan that one stage makes."""
        return replace(self, changes=tuple(change for change in self.changes if change.stage == stage))

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
    changes: list[Change] = []
    problems: list[CanaryError] = []
    replaces: dict[str, tuple[str, ...]] = {}
    notes, left_alone = _notes(stack, targets), []
    for host, target in targets.items():
        if host not in facts:
            continue
        seen, wants = facts[host], wants_of(stack, release.variant, target.rendering.services)
        found, trouble = _provision(host, seen, policies[host], wants)
        changes += found
        problems += _access(seen) + trouble
        changes += _push(host, release, target, seen, policies[host])
        problems += _same_tags(host, release, seen)
        problems += _room(host, release, target, seen) + _platform(host, release, target, seen)
        changes += _render(host, target, seen)
        others = _other_projects(stack, target, seen)
        if others:
            replaces[host] = others
        problems += _ports(host, target, seen, others) + mount_problems(host, target, seen.mounts)
        notes += foreign_notes(seen, target.rendering.directory)
        problems += current_problems(seen)
        problems += gpu_problems(seen, policies[host], wants)
        notes += [f"{host}: {one}" for one in seen.odd]
        notes += unchecked(seen, policies[host], wants)
        left_alone += others_on(seen, stack.stack)
        notes += [f"others use the GPUs: {one}" for one in busy_with(seen, stack.stack)] if wants else []
        started = _start(host, release, target, seen, others)
        problems += busy_problems(seen, policies[host], wants, stack.stack) if started else []
        changes += started
        left = left_behind(stack, target.rendering, target.project, others, seen, known)
        said, refused = data_problems(left, agreed=leave_data)
        notes += said + hidden_content(target.rendering, target.project, seen, _renewed(started))
        problems += refused
    changes += _migrate(stack, release, targets, facts)
    order = {host: index for index, host in enumerate(targets)}
    changes.sort(key=lambda change: (STAGES.index(change.stage), order[change.host]))
    return Plan(tuple(changes), tuple(problems), tuple(notes), replaces, tuple(left_alone))


def plan_provision(
    facts: Mapping[str, HostFacts],
    policies: Mapping[str, Policy],
    wants: Mapping[str, tuple[GpuRequest, ...]] | None = None,
) -> Plan:
    """What hosts lack to run containers. Asked for by name, `check` installs as well.

    Args:
        wants: by host, the services placed there that get GPUs.
    """
    changes: list[Change] = []
    problems: list[CanaryError] = []
    for host, seen in facts.items():
        policy = replace(policies[host], provision="auto")
        found, _ = _provision(host, seen, policy, (wants or {}).get(host, ()))
        changes += found
        problems += _access(seen) if found else []
    return Plan(tuple(changes), tuple(problems))


def readiness(facts: HostFacts) -> list[str]:
    """What a host lacks to run containers, each in words."""
    lacks = []
    if facts.docker is None:
        lacks.append("Docker is not installed")
    elif not facts.docker.running:
        lacks.append(f"Docker does not answer{f' ({facts.docker.error})' if facts.docker.error else ''}")
    if facts.docker is not None and facts.compose is None:
        lacks.append("docker compose v2 is not installed")
    elif facts.compose is not None and version_of(facts.compose) < OLDEST_COMPOSE:
        lacks.append(f"docker compose {facts.compose} is older than {OLDEST_COMPOSE}")
    return lacks


def _provision(
    host: str, facts: HostFacts, policy: Policy, wants: Sequence[GpuRequest]
) -> tuple[list[Change], list[CanaryError]]:
    if policy.provision == "never":
        return [], []
    work = {"install Docker and compose": readiness(facts), GPU_WORK: gpu_lacks(facts, policy, wants)}
    lacks = [lack for found in work.values() for lack in found]
    if not lacks:
        return [], []
    if policy.provision == "auto":
        return [Change(host, "provision", what, "; ".join(found)) for what, found in work.items() if found], []
    hint = f"set canary_provision: auto, or run: canaryctl provision ENV --limit {host}"
    return [], [ApplyError(f"the host is not ready: {'; '.join(lacks)}", hint=hint, stage="provision", host=host)]


def _access(facts: HostFacts) -> list[CanaryError]:
    """Sudo that is refused where nothing can be done without it."""
    try:
        facts.require_privilege()
    except HostError as refused:
        return [refused]
    return []


def _needed(release: Release, target: Target) -> dict[str, ImageFact]:
    return {release.services[service].name: release.services[service] for service in target.rendering.services}


def needed_images(release: Release, target: Target, facts: HostFacts) -> list[ImageFact]:
    """Images of the services placed on a host that it does not have under their content-addressed tags."""
    return [
        image
        for image in _needed(release, target).values()
        if not _tagged(facts, image, content_tag(release.stack, image))
    ]


def _tagged(facts: HostFacts, image: ImageFact, tag: str) -> bool:
    """Whether the image is on the host, whole, under the tag that compose will use."""
    return facts.has_tagged(image.id, tag, image.layers)


def is_pulled(image: ImageFact, policy: Policy) -> bool:
    """Whether a host gets the image from its registry rather than from the operator's machine."""
    return bool(image.source) and policy.delivery != "push"


def _push(host: str, release: Release, target: Target, facts: HostFacts, policy: Policy) -> list[Change]:
    changes = []
    for image in needed_images(release, target, facts):
        tag = content_tag(release.stack, image)
        reason = "present, but not under its tag" if facts.has_image(image.id) else "not on the host"
        size = f"{image.size / 1e6:.0f} MB{'' if image.local else ' compressed'}"
        origin = f", pulled from {image.source.partition('@')[0]}" if is_pulled(image, policy) else ""
        changes.append(Change(host, "push", f"{image.name} {tag} ({size}{origin})", reason))
    return changes


def _same_tags(host: str, release: Release, facts: HostFacts) -> list[ApplyError]:
    """A tag has 48 bits of an image's identity: whoever makes two images on purpose can have them share it."""
    earlier = [there.release for there in facts.state.releases.values() if there.release]
    return [
        ApplyError(
            f"image {name} ({image.id[:26]}) has the tag of another image of an earlier release ({other[:26]})",
            hint="that does not happen by chance: ask who built it, and build it anew",
            stage="push",
            host=host,
        )
        for name, image in release.images.items()
        if (other := tag_taken(release.stack, image, earlier))
    ]


def _room(host: str, release: Release, target: Target, facts: HostFacts) -> list[CanaryError]:
    missing = missing_size([i for i in _needed(release, target).values() if not facts.has_image(i.id)], facts)
    docker_root = facts.docker.root if facts.docker and facts.docker.running else "/"
    disk = facts.disks.get(docker_root) or facts.disks.get("/")
    if not missing or disk is None or disk.free >= missing * HEADROOM:
        return []
    return [
        ApplyError(
            f"not enough room for the images: {missing * HEADROOM / 1e6:.0f} MB are needed in {docker_root}, "
            f"{disk.free / 1e6:.0f} MB are free",
            hint="free space there (docker system df shows what Docker holds), then run this again",
            stage="push",
            host=host,
        )
    ]


def missing_size(images: Sequence[ImageFact], facts: HostFacts) -> int:
    """Bytes that images take on a host beside what it has, each shared layer once.

    At least: where the sizes of layers are not known, an image counts as a whole or, if the host has its base, not at
    all. The push counts exactly, before it sends anything.
    """
    there = {image.layers[:n] for image in facts.images for n in range(1, len(image.layers) + 1)}
    sizes: dict[tuple[str, ...], int] = {}
    for image in images:
        if image.layer_sizes:
            for n, size in enumerate(image.layer_sizes, 1):
                sizes[image.layers[:n]] = size
        else:
            base = image.layers[:1]
            sizes[base] = max(image.size, sizes.get(base, 0))
    return sum(size for layers, size in sizes.items() if layers not in there)


def _platform(host: str, release: Release, target: Target, facts: HostFacts) -> list[CanaryError]:
    wrong = [i for i in _needed(release, target).values() if facts.arch and i.platform != f"linux/{facts.arch}"]
    return [
        ApplyError(
            f"image {image.name} is for {image.platform}, the host is linux/{facts.arch}",
            hint=f"{'publish' if image.source else 'build'} the image for the host's platform",
            stage="push",
            host=host,
        )
        for image in wrong
    ]


def _render(host: str, target: Target, facts: HostFacts) -> list[Change]:
    changes = []
    there = facts.state.releases.get(target.rendering.directory)
    short = target.rendering.directory[:12]
    if there is None:
        reason = "not on the host" if facts.state.current else "nothing is deployed here yet"
        changes.append(Change(host, "render", f"release {short} with {', '.join(target.rendering.services)}", reason))
    elif paths := drifted_files(facts, target.rendering.directory, target.rendering.hashes):
        changes.append(Change(host, "render", f"release {short}", f"drift: {', '.join(paths[:5])} differ"))
    if target.secrets is not None and facts.state.secrets != target.secrets:
        reason = "not on the host" if facts.state.secrets is None else secrets_reason(target, facts)
        changes.append(Change(host, "render", "secrets.env", reason))
    return changes


def _other_projects(stack: Stack, target: Target, facts: HostFacts) -> tuple[str, ...]:
    """Compose projects of this stack's other environments that live here."""
    served = facts.state.current_release.get("environment") if facts.state.current_release else None
    candidates = {f"{stack.stack}-{served}"} if served else set()
    candidates |= {
        container.project for container in facts.containers if f"/{stack.stack}/releases/" in container.config_files
    }
    present = {container.project for container in facts.containers}
    return tuple(sorted(name for name in candidates if name and name != target.project and name in present))


def _start(host: str, release: Release, target: Target, facts: HostFacts, others: tuple[str, ...]) -> list[Change]:
    changes = [Change(host, "start", f"stop {other}", f"replaces {other}") for other in others]
    if facts.state.current != target.rendering.directory:
        reason = f"{facts.state.current[:12]} is current" if facts.state.current else "nothing is current"
        changes.append(Change(host, "start", f"make {target.rendering.directory[:12]} current", reason))
    older, healed = _not_as_released(target, facts)
    for service in target.rendering.services:
        container = facts.container(service, target.project)
        reason = _why_start(container, release.services[service], release.tag(service), facts)
        reason = reason or rotation_reason(service, target, facts) or older.get(service, "")
        if not reason and service in healed:
            reason = f"mounts {healed[service]}, which is put back"
        if reason:
            changes.append(Change(host, "start", service, reason))
    strays = sorted(
        {c.service for c in facts.containers if c.project == target.project and not c.oneoff}
        - set(target.rendering.services)
        - {""}
    )
    changes += [Change(host, "start", f"remove {service}", "not placed here") for service in strays]
    return changes


def _not_as_released(target: Target, facts: HostFacts) -> tuple[dict[str, str], dict[str, str]]:
    """What runs another definition than the current release's, and what mounts files that are or were put back.

    Where another release is current, that one changes the hosts anyway, and compose sees what of it is new.
    """
    directory = target.rendering.directory
    if facts.state.current != directory:
        return {}, {}
    drifted = drifted_files(facts, directory, target.rendering.hashes)
    paths = {*drifted, *(facts.state.started.healed if facts.state.started else ())}
    return (
        other_definitions(facts, target.project, directory, target.rendering.services),
        mounts_of_healed(facts, target.project, directory, sorted(paths)),
    )


def _renewed(started: Sequence[Change]) -> set[str]:
    """Services that get another image."""
    return {change.what for change in started if change.reason == OTHER_IMAGE}


def _why_start(container: ContainerFacts | None, image: ImageFact, tag: str, facts: HostFacts) -> str:
    if container is None:
        return "is not there"
    if container.image_id != image.id and not (container.image == tag and _tagged(facts, image, tag)):
        return OTHER_IMAGE
    if container.state != "running":
        return f"is {container.state}" + (f" (exit code {container.exit_code})" if container.exit_code else "")
    if container.health not in ("", "healthy"):
        return f"is {container.health}"
    return ""


def _migrate(
    stack: Stack,
    release: Release,
    targets: Mapping[str, Target],
    facts: Mapping[str, HostFacts],
) -> list[Change]:
    """One change, on the first host of the migration's service, when the database may lack what the release needs."""
    if not stack.migrations:
        return []
    host = migration_host(stack, {name: target.rendering.services for name, target in targets.items()})
    if host is None or host not in facts:
        return []
    marker = facts[host].state.migrated or {}
    wanted = marker_of(stack, release, targets[host].project)
    if {key: marker.get(key) for key in wanted} != wanted:
        reason = "never migrated from here" if not marker else "another release was migrated last"
    elif fresh := _fresh_database(stack, targets, facts):
        reason = fresh
    else:
        return []
    return [Change(host, "migrate", stack.migrations.upgrade, reason)]


def migration_host(stack: Stack, placed: Mapping[str, tuple[str, ...]]) -> str | None:
    """The host whose container runs the migration: the first with its service."""
    if not stack.migrations:
        return None
    return next((host for host, services in placed.items() if stack.migrations.service in services), None)


def marker_of(stack: Stack, release: Release, project: str) -> dict[str, Any]:
    """What migrated.json must say for the migration to count as done."""
    if not stack.migrations:
        return {}
    return {
        "project": project,
        "image": release.services[stack.migrations.service].id,
        "upgrade": stack.migrations.upgrade,
    }


def _fresh_database(stack: Stack, targets: Mapping[str, Target], facts: Mapping[str, HostFacts]) -> str:
    """Why the database is not the one that was migrated, or ''. Its volumes tell: they outlive containers.

    Each host's volumes are compared with the marker on that host, both by its own clock.
    """
    databases = stack.migrations.databases if stack.migrations else ()
    hosts = [h for h, t in targets.items() if h in facts and set(databases) & set(t.rendering.services)]
    for host in hosts:
        project = targets[host].project
        since = float((facts[host].state.migrated or {}).get("time") or 0)
        keys = [key for database in databases for key in targets[host].rendering.volumes.get(database, ())]
        names = {*keys, *(f"{project}_{key}" for key in keys)}
        # Where the database's volumes have no name, any of the project's may be one.
        volumes = [v for v in facts[host].volumes if (v.name in names if names else v.project == project)]
        if not volumes:
            return "the database has no volume yet"
        if any((volume.created or 0) > since for volume in volumes):
            return "a volume is newer than the last migration"
    return ""


def mount_problems(host: str, target: Target, seen: Mapping[str, MountFacts]) -> list[ApplyError]:
    """Declared mounts that a host lacks: whatever ran there would use an empty directory of its own instead."""
    return [
        ApplyError(fault.what, hint=fault.hint, stage="migrate", host=host)
        for fault in mount_faults(target.mounts, seen)
    ]


def _ports(host: str, target: Target, facts: HostFacts, others: tuple[str, ...]) -> list[ApplyError]:
    """Ports the release publishes that something else holds. Ours, and those of a project it replaces, do not count."""
    return [
        ApplyError(
            f"port {port} of service {service} is already taken on the host by {holder}",
            hint="stop what holds it, or publish another port",
            stage="start",
            host=host,
        )
        for port, service, holder in taken_ports(target.rendering.ports, facts, {target.project, *others})
    ]


def _notes(stack: Stack, targets: Mapping[str, Target]) -> list[str]:
    placed = {service for target in targets.values() for service in target.rendering.services}
    left_out = [service for service in stack.optional if service not in placed]
    return [f"{service} is optional and left out: its group has no host here" for service in left_out]
