"""Rules about what runs and what is deployed: drift, strays, health, locks."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from canaryctl.agent.read.installed import rendering_suffix
from canaryctl.audit.model import Found, HostConfig, Severity
from canaryctl.audit.rule import Rule
from canaryctl.facts.host import ContainerFacts, HostFacts
from canaryctl.plan.definitions import other_definitions
from canaryctl.plan.release import sha256
from canaryctl.plan.releasefiles import kept_by_healing

RESTARTS, RESTARTS_WITHIN = 3, 600.0  # so many, the last start so few seconds ago

DRIFT_FILE = Rule(
    "drift-file",
    Severity.WARNING,
    title="A file of the current release is not what was deployed",
    why="What runs, or will after the next restart, is not what was proven; a deploy silently takes the edit back.",
    fix="Take the change into the stack and deploy it, or deploy to put the file back: canaryctl deploy ENV.",
)
DRIFT_IMAGE = Rule(
    "drift-image",
    Severity.WARNING,
    title="A service runs, or its tag names, another image than the release's",
    why="What runs is not what was proven.",
    fix="Deploy again: canaryctl deploy ENV.",
)
DRIFT_DEFINITION = Rule(
    "drift-definition",
    Severity.ERROR,
    title="A service runs an older definition than the release's",
    why="After a power loss, or by hand, a container of another release serves: what was proven does not run.",
    fix="Deploy again, which makes it anew: canaryctl deploy ENV.",
)
NO_RELEASE = Rule(
    "container-without-release",
    Severity.WARNING,
    title="A container is from no release",
    why="Nobody proved it, no deploy manages it, and it takes the release's ports, memory and GPU.",
    fix="Remove it (docker rm -f NAME), or take it into the stack.",
)
SERVICE_DOWN = Rule(
    "service-down",
    Severity.ERROR,
    title="A service of the current release does not run",
    why="The environment does not serve what its release promises.",
    fix="See its log (canaryctl logs ENV SERVICE), then deploy again.",
)
RESTART_LOOP = Rule(
    "restart-loop",
    Severity.ERROR,
    title="A container restarts over and over",
    why="It fails soon after each start; between two failures it may even look healthy.",
    fix="See why it ends: canaryctl logs ENV SERVICE.",
)
UNHEALTHY = Rule(
    "container-unhealthy",
    Severity.ERROR,
    title="A container fails its health check",
    why="It runs and does not do its work.",
    fix="See its log (canaryctl logs ENV SERVICE) and its check: docker inspect NAME.",
)
CHANGE_UNCONFIRMED = Rule(
    "change-unconfirmed",
    Severity.WARNING,
    title="The last change of what a host serves was not confirmed",
    why="Its run was cut off: the host serves what last passed there, or will, or could not go back by itself.",
    fix="Deploy again: canaryctl deploy ENV. See canaryctl history ENV for what the host did.",
)
LOCK_EXPIRED = Rule(
    "lock-expired",
    Severity.WARNING,
    title="A deployment's lock has outlived its time",
    why="Its holder was killed in the middle: the hosts may be half changed.",
    fix="Ask the holder, then deploy again: an expired lock makes way.",
)


@DRIFT_FILE.host
def drift_file(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """The name of a release's directory holds the hash of what was rendered, so no image is needed here to tell."""
    current = facts.state.current
    if not current:
        return
    known = facts.state.releases.get(current)
    if known is None or known.release is None:
        yield Found(f"release.json of {current[:12]} cannot be read", subject="release.json")
        return
    if known.release.get("id") != current.rpartition("-")[0]:
        yield Found("release.json names another release than its directory", subject="release.json")
    files = {path: digest for path, digest in known.files.items() if not kept_by_healing(path)}
    if rendering_suffix(str(known.release.get("environment")), files) == current.rpartition("-")[2]:
        return
    for path in _differing(known.release, files, host if host.directory == current else None) or ["compose.yml"]:
        what = f"current/{path} is not what was deployed" if path in files else f"current/{path} is missing"
        yield Found(what, subject=path, diff=_diff(facts, host) if path == "compose.yml" else "")


def _differing(release: Mapping[str, Any], found: Mapping[str, str], host: HostConfig | None) -> list[str]:
    """Paths that differ from what this machine renders of the release, else those whose hash the release tells."""
    if host is not None:
        wanted = {path: sha256(content) for path, content in host.files.items() if path != "release.json"}
    else:
        wanted = {f"assets/{path}": digest for path, digest in (release.get("files") or {}).items()}
        # Which of these is the compose template is not told; it is no file of the directory.
        wanted = {path: digest for path, digest in wanted.items() if path in found or _is_asset(path, found)}
        wanted["compose.yml"] = found.get("compose.yml", "")
    extra = [path for path in found if path not in wanted and path != "release.json"]
    return sorted([path for path, digest in wanted.items() if found.get(path) != digest] + extra)


def _is_asset(path: str, found: Mapping[str, str]) -> bool:
    """Whether others of its folder are there: then it is an asset that has gone."""
    folder = path.rpartition("/")[0]
    return any(other.rpartition("/")[0] == folder for other in found)


def _diff(facts: HostFacts, host: HostConfig) -> str:
    if host.directory != facts.state.current or not facts.audit.compose:
        return ""
    return "".join(
        difflib.unified_diff(
            host.files["compose.yml"].decode().splitlines(keepends=True),
            facts.audit.compose.splitlines(keepends=True),
            "as deployed/compose.yml",
            f"{host.name}: current/compose.yml",
        )
    )


@DRIFT_IMAGE.host
def drift_image(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Where the store's ids are manifest digests, the content-addressed tag is what there is to compare."""
    release = _served(facts, host)
    by_tag = bool(facts.docker and facts.docker.containerd_store)
    for service, name in (release.get("services") or {}).items():
        image = (release.get("images") or {}).get(name) or {}
        container = facts.container(service, host.project)
        wanted, tag = str(image.get("id")), str(image.get("tag"))
        if container and not facts.runs_image(container, wanted, tag):
            yield Found(f"{service} runs {container.image} ({container.image_id[7:19]}), not {tag}", subject=service)
        moved = [found for found in facts.images if tag in found.tags and found.id != wanted]
        if moved and not by_tag:
            yield Found(f"{tag} names another image ({moved[0].id[7:19]}) on the host", subject=tag)


@DRIFT_DEFINITION.host
def drift_definition(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """By what compose left when the release came up."""
    release, current = _served(facts, host), facts.state.current
    if not release or current is None:
        return
    placed = release.get("placed") or ()
    for service, how in sorted(other_definitions(facts, host.project, current, placed).items()):
        yield Found(f"{service} {how}", subject=service)


@NO_RELEASE.host
def no_release(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Containers of others are mentioned only."""
    releases = f"{host.root}/{host.stack}/releases/"
    placed = _served(facts, host).get("placed")
    for container in facts.containers:
        ours = container.project == host.project or container.image.startswith(f"canaryctl/{host.stack}/")
        if not container.config_files.startswith(releases):
            yield Found(
                f"{container.name} ({container.image}) is from no release",
                subject=container.name,
                severity=None if ours else Severity.INFO,
                fix="" if ours else "Ask its owner; canaryctl leaves it alone.",
            )
        elif placed is not None and _is_stray(container, host, placed):
            yield Found(f"{container.name} is of a service that is not placed here", subject=container.name)


def _is_stray(container: ContainerFacts, host: HostConfig, placed: Sequence[str]) -> bool:
    return container.project == host.project and not container.oneoff and container.service not in placed


@SERVICE_DOWN.host
def service_down(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Of the services that the release placed on this host."""
    if facts.docker is None or not facts.docker.running:
        return
    for service in _served(facts, host).get("placed") or ():
        container = facts.container(service, host.project)
        if container is None:
            yield Found(f"{service} has no container", subject=service)
        elif container.state not in ("running", "restarting"):
            code = f" (exit code {container.exit_code})" if container.exit_code else ""
            yield Found(f"{service} is {container.state}{code}", subject=service)


@RESTART_LOOP.host
def restart_loop(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Docker counts restarts by policy only, not those by hand."""
    for container in _ours(facts, host):
        recent = container.started is not None and facts.time - container.started < RESTARTS_WITHIN
        if container.state == "restarting" or (container.restarts >= RESTARTS and recent):
            killed = ", last killed for memory" if container.oom_killed else ""
            yield Found(f"{container.service} has restarted {container.restarts} times{killed}", container.service)


@UNHEALTHY.host
def unhealthy(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """By its own check."""
    for container in _ours(facts, host):
        if container.health == "unhealthy":
            yield Found(f"{container.service} is unhealthy", subject=container.service)


@CHANGE_UNCONFIRMED.host
def change_unconfirmed(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """One that waits while its run holds the lock is as it should be."""
    change, lock = facts.state.change, facts.state.lock
    waits = change is not None and change.is_open and not (lock and not lock.expired)
    if change and (waits or change.went_back):
        stranded = Severity.ERROR if change.phase == "stranded" else None
        yield Found(change.words(facts.time), subject="change", severity=stranded)


@LOCK_EXPIRED.host
def lock_expired(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """By the host's own clock, as it was taken."""
    lock = facts.state.lock
    if lock and lock.expired:
        minutes = (facts.time - lock.renewed - lock.ttl) / 60
        yield Found(f"the lock of {lock.words()} expired {minutes:.0f} minutes ago", subject="lock")


def _served(facts: HostFacts, host: HostConfig) -> Mapping[str, Any]:
    """The current release, where it is one of this environment."""
    release = facts.state.current_release or {}
    return release if f"{host.stack}-{release.get('environment')}" == host.project else {}


def _ours(facts: HostFacts, host: HostConfig) -> Iterator[ContainerFacts]:
    return (container for container in facts.containers if container.project == host.project)
