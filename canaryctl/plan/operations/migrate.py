"""Bring the database's schema to the release's revision, once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from canaryctl.config.stack import Stack
from canaryctl.facts.host import HostFacts
from canaryctl.plan.operations.operation import Operation
from canaryctl.plan.operations.start import other_projects
from canaryctl.plan.release import Release
from canaryctl.plan.target import Target


@dataclass(frozen=True)
class Migrate(Operation):
    """Run `upgrade` in a container of `service`.

    `replaces` are compose projects by host that make way for the database, if it has to be started.
    """

    kind = "migrate"
    stage = "migrate"

    service: str
    upgrade: str
    replaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def what(self) -> str:
        return self.upgrade


def to_migrate(
    stack: Stack, release: Release, targets: Mapping[str, Target], facts: Mapping[str, HostFacts]
) -> list[Migrate]:
    """On the first host of the migration's service, when the database may lack what the release needs."""
    migrations = stack.migrations
    host = migration_host(stack, {name: target.rendering.services for name, target in targets.items()})
    if migrations is None or host is None or host not in facts:
        return []
    marker = facts[host].state.migrated or {}
    wanted = marker_of(stack, release, targets[host].project)
    if {key: marker.get(key) for key in wanted} != wanted:
        reason = "never migrated from here" if not marker else "another release was migrated last"
    else:
        reason = _fresh_database(stack, targets, facts)
    if not reason:
        return []
    of = [
        name
        for name in targets
        if name in facts and (name == host or has_database(stack, targets[name].rendering.services))
    ]
    replaced = {name: other_projects(stack, targets[name], facts[name]) for name in of}
    replaces = {name: projects for name, projects in replaced.items() if projects}
    return [Migrate(host, reason, migrations.service, migrations.upgrade, replaces)]


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


def has_database(stack: Stack, services: Iterable[str]) -> bool:
    """Whether one of the services is a database that is up while the schema is migrated."""
    databases = stack.migrations.databases if stack.migrations else ()
    return not set(databases).isdisjoint(services)


def _fresh_database(stack: Stack, targets: Mapping[str, Target], facts: Mapping[str, HostFacts]) -> str:
    """Why the database is not the one that was migrated, or ''. Its volumes tell: they outlive containers.

    Each host's volumes are compared with the marker on that host, both by its own clock.
    """
    databases = stack.migrations.databases if stack.migrations else ()
    hosts = [name for name, one in targets.items() if name in facts and has_database(stack, one.rendering.services)]
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
