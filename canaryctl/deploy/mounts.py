"""Look at declared mounts again right before something runs on them: minutes may have passed since the plan."""

from __future__ import annotations

from collections.abc import Sequence

from canaryctl.deploy.context import Work
from canaryctl.hosts import Connection, look_at_mounts
from canaryctl.plan.mounts import asked
from canaryctl.plan.plan import mount_problems


def require_mounts(work: Work, hosts: Sequence[str]) -> None:
    """Stop where a mount is gone: Docker would put an empty directory in its place.

    Raises:
        ApplyError: names the first mount and host.
        HostError: a host was lost.
    """
    wanted = [host for host in hosts if host in work.targets and work.targets[host].mounts]

    def look(connection: Connection) -> None:
        target = work.targets[connection.host]
        seen = look_at_mounts(
            connection,
            work.scene.environment.hosts[connection.host],
            asked(target.mounts),
            become_password=work.scene.request.become_password,
        )
        if problems := mount_problems(connection.host, target, seen):
            raise problems[0]

    _, lost = work.connections.each(wanted, look)
    for failure in lost.values():
        raise failure
