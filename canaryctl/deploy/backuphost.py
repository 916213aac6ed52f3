"""Where a migration's backup is made, and of what."""

from __future__ import annotations

from typing import Any

from canaryctl.deploy.context import RunContext
from canaryctl.errors import ApplyError


def host_of(ctx: RunContext) -> str | None:
    """The host whose database is backed up: the first with the service; None where the stack wants no backup."""
    migrations = ctx.deployment.stack.migrations
    if not migrations or not migrations.backup:
        return None
    return next((host for host, services in ctx.deployment.placed.items() if migrations.backup in services), None)


def variables(ctx: RunContext) -> dict[str, Any] | None:
    """The `backup` of canary_migration."""
    migrations, host = ctx.deployment.stack.migrations, host_of(ctx)
    if not migrations or host is None:
        return None
    return {
        "service": migrations.backup,
        "host": host,
        "environment": ctx.deployment.environment.name,
        "database": migrations.backup_database,
        "user": migrations.backup_user,
    }


def require_host(ctx: RunContext) -> None:
    """Stop before a migration whose database cannot be backed up, because its host is left out."""
    host = host_of(ctx)
    if host is not None and host not in ctx.facts:
        raise ApplyError(
            "the migration needs a backup of the database, whose host is left out",
            host,
            "let --limit include it",
            stage="migrate",
            host=host,
        )
