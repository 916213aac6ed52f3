"""Whether what runs is what the release says: each container against what compose last brought up, to the end. Pure.

compose leaves a container alone whose definition is the same in the next release, and with it the label that names the
older one. So the label alone tells nothing; what compose left behind when the release came up does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from canaryctl.facts.host import ContainerFacts, HostFacts
from canaryctl.facts.started import MountedFacts, StartedFacts

SHORT = 12
_RELEASE = re.compile(r"/releases/([0-9a-f]{64}-[0-9a-f]{8})/")


def other_definitions(
    facts: HostFacts, project: str, directory: str, services: Iterable[str] | None = None
) -> dict[str, str]:
    """Services with a container that was not made from this release's definition, and how it differs, in words.

    Args:
        directory: the name of the release's directory.
        services: only these; all of the project where None.
    """
    found: dict[str, str] = {}
    for container in facts.containers:
        if container.project != project or container.oneoff or not container.service:
            continue
        if services is not None and container.service not in services:
            continue
        if difference := _differs(container, facts.state.started, project, directory):
            found.setdefault(container.service, difference)
    return found


def not_running(facts: HostFacts, project: str, services: Iterable[str] | None = None) -> dict[str, str]:
    """Services of which no container runs, and what became of it, in words. One that has done its work is none.

    Args:
        services: only these, of which each has to be there; what there is of the project where None.
    """
    there: dict[str, list[ContainerFacts]] = {service: [] for service in services or ()}
    for container in facts.containers:
        if container.project == project and not container.oneoff and (services is None or container.service in there):
            there.setdefault(container.service, []).append(container)
    found = {}
    for service, containers in there.items():
        if not any(one.has_done_its_work or not why_stopped(one) for one in containers):
            found[service] = why_stopped(next(iter(containers), None))
    return found


def why_stopped(container: ContainerFacts | None) -> str:
    """Why a container does not run, in words; '' for one that does."""
    if container is None:
        return "is not there"
    if container.state == "running":
        return ""
    return f"is {container.state}" + (f" (exit code {container.exit_code})" if container.exit_code else "")


def _differs(container: ContainerFacts, started: StartedFacts | None, project: str, directory: str) -> str:
    named = _RELEASE.search(container.config_files)
    label = named[1] if named else ""
    if started is None or (started.release, started.project) != (directory, project):
        # Its start was cut off, or an earlier canaryctl made it: what was made for the release is right at least.
        return "" if label == directory else f"runs {_of(label)}"
    if container.id in started.containers:
        return ""
    alike = [one for one in started.containers.values() if one.service == container.service]
    same = [one for one in alike if one.config_hash and one.config_hash == container.config_hash]
    if not same:
        return f"runs {_of(label)}" if label != directory else "runs another definition than the release's"
    if not any(comparable(one.mounts) == comparable(container.mounts) for one in same):
        return "has other mounts than the release's"
    return ""


def _of(label: str) -> str:
    return f"an older definition, of release {label[:SHORT]}" if label else "a definition that is of no release"


def comparable(mounts: Iterable[MountedFacts]) -> list[tuple[str, str, str, bool]]:
    """Mounts without what differs from container to container."""
    return sorted((m.destination, m.type, "" if m.anonymous else m.source, m.rw) for m in mounts)


def mounts_of_healed(facts: HostFacts, project: str, directory: str, paths: Iterable[str]) -> dict[str, str]:
    """Services whose containers mount one of these files of a release, or a folder that holds it; with its path."""
    paths = list(paths)
    found: dict[str, str] = {}
    for container in facts.containers:
        if container.project != project or container.oneoff:
            continue
        for mount in container.mounts:
            _, inside, below = mount.source.partition(f"/releases/{directory}")
            if mount.type != "bind" or not inside or (below and not below.startswith("/")):
                continue
            place = below.strip("/")
            touched = [path for path in paths if not place or path == place or path.startswith(f"{place}/")]
            if touched and container.service:
                found.setdefault(container.service, touched[0])
    return found
