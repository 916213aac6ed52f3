"""Look at declared mounts again right before something runs on them: minutes may have passed since the plan."""

from __future__ import annotations

from collections.abc import Sequence

from canaryctl.deploy.context import RunContext
from canaryctl.hosts import Connection, look_at_mounts
from canaryctl.plan.mounts import asked, mount_problems


def require_mounts(ctx: RunContext, hosts: Sequence[str]) -> None:
    """Stop where a mount is gone: Docker would put an empty directory in its place.

    Raises:
        ApplyError: names the first mount and host.
        HostError: a host was lost.
    """
    wanted = [host for host in hosts if host in ctx.targets and ctx.targets[host].mounts]

    def look(connection: Connection) -> None:
        target = ctx.targets[connection.host]
        seen = look_at_mounts(connection, asked(target.mounts))
        if problems := mount_problems(connection.host, target.mounts, seen):
            raise problems[0]

    ctx.fleet.all(wanted, look)
