"""Data that a plan would leave behind: what was written where the release no longer looks, in words. Pure.

Nothing is ever removed. But a database that silently starts empty, since its volume, its environment or its stack has
another name now, is as bad for whoever does not notice; so that is agreed to first (`--leave-data`). Data that
deploying another environment again would find is only mentioned.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from canaryctl.config.stack import Stack
from canaryctl.errors import ConfigError
from canaryctl.facts.host import ContainerFacts, HostFacts
from canaryctl.facts.started import MountedFacts
from canaryctl.plan.mounting import Mounting
from canaryctl.plan.rendering import Rendering

_DATABASES = re.compile(
    r"(?:^|[-_./])(?:postgres\w*|postgis|timescale\w*|mysql|mariadb|percona|mongo\w*|redis|valkey|clickhouse|cassandra"
    r"|couchdb|neo4j|influxdb|elasticsearch|opensearch|etcd)(?:$|[-_./:@])"
)
_PLACES = re.compile(
    r"/var/lib/(?:postgresql|mysql|mongodb|redis|cassandra|clickhouse|influxdb|neo4j)(?:/|$)|/data/db$"
)
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_IN_RELEASE = re.compile(r"/releases/[0-9a-f]{64}-[0-9a-f]{8}(?:/|$)")


class LeftDataError(ConfigError):
    """A database would start without its data (exit 2); nothing of that happens before its stage."""

    stage = "migrate"


@dataclass(frozen=True)
class Known:
    """What the operator's machine knows of names: environments of the project, and what else it deployed the stack as.

    The latter is read from evidence, so only where it is asked for.
    """

    environments: Collection[str] | None = None  # None: not known, so none of them is missing
    former_stacks: Callable[[], Collection[str]] = tuple


@dataclass(frozen=True)
class Left:
    """Data that stays behind on a host, in words; `database`: that of a database, which would start empty."""

    host: str
    what: str
    database: bool

    @property
    def words(self) -> str:
        """For notes and errors."""
        return f"{self.host}: {self.what}"


def left_behind(
    stack: Stack, rendering: Rendering, project: str, others: Iterable[str], facts: HostFacts, known: Known
) -> list[Left]:
    """What would stay behind on a host.

    Args:
        project: the compose project.
        others: projects that this one takes the place of.
    """
    if facts.docker is None or not facts.docker.running:
        return []
    databases = _databases(stack, rendering)
    found = [*_moved(rendering, project, facts, databases)]
    moved = {left.what for left in found}
    missing = _missing(rendering, project, facts, databases)
    found += _replaced(stack, others, facts, known, bool(missing) or not databases)
    if missing and not any(left.database for left in found):
        found += [left for left in _renamed(stack, rendering, project, facts, known, missing) if left.what not in moved]
    return found


def data_problems(left: Iterable[Left], *, agreed: bool) -> tuple[list[str], list[LeftDataError]]:
    """What is only said, and what forbids the plan as long as nobody has `agreed` (--leave-data)."""
    notes: list[str] = []
    problems: list[LeftDataError] = []
    for one in left:
        if one.database and not agreed:
            problems.append(
                LeftDataError(
                    f"a database would start without its data: {one.what}",
                    one.host,
                    "give it back its name, or move the data first; to leave it there: --leave-data",
                )
            )
        else:
            notes.append(one.words)
    return notes, problems


def _databases(stack: Stack, rendering: Rendering) -> set[str]:
    """Services placed here that are databases: the stack says so, or their image or where they write does."""
    found = set(stack.migrations.databases) if stack.migrations else set()
    images = {service: name for variant in stack.variants.values() for service, name in variant.items()}
    for service in rendering.services:
        image = stack.images.get(images.get(service, ""))
        if image is not None and _DATABASES.search(image.reference):
            found.add(service)
    found |= {mount.service for mount in rendering.mounts if not mount.read_only and _PLACES.match(mount.target)}
    return found & set(rendering.services)


def _moved(rendering: Rendering, project: str, facts: HostFacts, databases: Collection[str]) -> Iterator[Left]:
    """What services have written where they will look no more."""
    for container in facts.containers:
        if container.project != project or container.oneoff or container.service not in rendering.services:
            continue
        wanted = {_path(m.target): m for m in rendering.mounts if m.service == container.service}
        for mount in container.mounts:
            if not _holds_data(mount):
                continue
            then = wanted.get(_path(mount.destination))
            if _is_same(mount, then):
                continue
            if mount.anonymous and then is None:
                continue  # compose keeps it
            yield Left(
                facts.host,
                f"{container.service} has {mount.destination} in {_shown(mount)}, and would have it in "
                f"{_wanted(then)}: what is there stays there",
                container.service in databases,
            )


def hidden_content(rendering: Rendering, project: str, facts: HostFacts, renewed: Collection[str]) -> list[str]:
    """Volumes without a name that hide what a new image has at their place, in words; `renewed`: services with one."""
    return [
        f"{facts.host}: {container.service} keeps a volume without a name at {mount.destination}: what the new image "
        "has there stays hidden; name the volume, or leave it out"
        for container in facts.containers
        if container.project == project and not container.oneoff and container.service in renewed
        for mount in container.mounts
        if mount.anonymous
        and _is_same(
            mount,
            {_path(m.target): m for m in rendering.mounts if m.service == container.service}.get(
                _path(mount.destination)
            ),
        )
    ]


def _holds_data(mount: MountedFacts) -> bool:
    return mount.rw and (mount.type == "volume" or (mount.type == "bind" and not _IN_RELEASE.search(mount.source)))


def _is_same(mount: MountedFacts, then: Mounting | None) -> bool:
    if then is None:
        return mount.anonymous
    if mount.type != then.type:
        return False
    if "$" in then.source:  # a secret is part of it, which only the host knows
        return True
    if mount.type == "volume":
        return mount.source == then.source or (mount.anonymous and not then.source)
    # What a relative path becomes on the host is not known here.
    return not then.source.startswith("/") or _path(mount.source) == _path(then.source)


def _shown(mount: MountedFacts) -> str:
    if mount.type == "bind":
        return f"the folder {mount.source}"
    return f"a volume without a name ({mount.source[:12]})" if mount.anonymous else f"volume {mount.source}"


def _wanted(then: Mounting | None) -> str:
    if then is None:
        return "no volume"
    if then.type == "bind":
        return f"the folder {then.source}"
    return f"volume {then.source}" if then.source else "a volume without a name"


def _missing(rendering: Rendering, project: str, facts: HostFacts, databases: Collection[str]) -> set[str]:
    """Named volumes of databases that are not there yet."""
    present = {volume.name for volume in facts.volumes}
    return {
        mount.source
        for mount in rendering.mounts
        if mount.service in databases and mount.type == "volume" and mount.source and not mount.read_only
        if "$" not in mount.source
    } - present


def _replaced(stack: Stack, others: Iterable[str], facts: HostFacts, known: Known, empty: bool) -> Iterator[Left]:
    """Data of the environments whose place is taken; `empty`: this one's database has none yet."""
    for other in others:
        environment = other.removeprefix(f"{stack.stack}-")
        volumes = sorted(volume.name for volume in facts.volumes if volume.project == other and _named(volume.name))
        if not volumes:
            continue
        data = f"the data of {other}, whose place is taken, stays in volume {', '.join(volumes)}"
        if known.environments is None or environment in known.environments:
            yield Left(facts.host, f"{data}, where deploying {environment} finds it again", False)
        else:
            has_one = any(_is_database(stack, c) for c in facts.containers if c.project == other)
            yield Left(facts.host, f"{data}, and there is no environment {environment} any more", has_one and empty)


def _is_database(stack: Stack, container: ContainerFacts) -> bool:
    named = stack.migrations.databases if stack.migrations else ()
    places = any(_PLACES.match(mount.destination) for mount in container.mounts if mount.rw)
    return container.service in named or places or _DATABASES.search(container.image) is not None


def _renamed(
    stack: Stack, rendering: Rendering, project: str, facts: HostFacts, known: Known, missing: Collection[str]
) -> Iterator[Left]:
    """A database's volume is not there, and one is that it may have had by another name."""
    wanted = {mount.source for mount in rendering.mounts}
    lack = f"{', '.join(sorted(missing))} is not there yet"
    orphans = [v.name for v in facts.volumes if v.project == project and _named(v.name) and v.name not in wanted]
    if orphans:
        yield Left(facts.host, f"{lack}, and no service uses volume {', '.join(sorted(orphans))} any more", True)
    environment = project.removeprefix(f"{stack.stack}-")
    served = {str(line.get("environment")) for line in facts.state.history if isinstance(line, Mapping)}
    gone = {f"{stack.stack}-{name}" for name in served - set(known.environments or served)}
    gone |= {f"{name}-{environment}" for name in known.former_stacks()}
    keys = {name.removeprefix(f"{project}_") for name in missing}
    for volume in facts.volumes:
        if volume.project in gone - {project} and volume.name.removeprefix(f"{volume.project}_") in keys:
            yield Left(
                facts.host, f"{lack}, and {volume.project}, which is no environment any more, left {volume.name}", True
            )


def _named(volume: str) -> bool:
    return _ANONYMOUS.fullmatch(volume) is None


def _path(text: str) -> str:
    return posixpath.normpath(text) if text else ""
