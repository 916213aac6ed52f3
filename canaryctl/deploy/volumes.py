"""What `down --volumes` removed: the difference between two looks at the hosts, not what was asked for."""

from __future__ import annotations

from canaryctl.deploy import stages
from canaryctl.deploy.context import RunContext


def down(ctx: RunContext, *, volumes: bool) -> dict[str, list[str]]:
    """Stop the services, and with `volumes` remove this environment's volumes; the names of those that went, by host.

    Without `volumes` nothing is looked at again: data stays.
    """
    before = _volumes(ctx)
    stages.down(ctx, volumes=volumes)
    if not volumes:
        return {}
    ctx.observe(again=True)
    after = _volumes(ctx)
    removed = {host: sorted(names - after.get(host, names)) for host, names in before.items()}
    removed = {host: names for host, names in removed.items() if names}
    ctx.run.set("removed", {"volumes": removed})
    gone = "; ".join(f"{host}: {', '.join(names)}" for host, names in removed.items())
    ctx.run.note(f"volumes removed with their data: {gone}" if gone else "there was no volume to remove")
    return removed


def _volumes(ctx: RunContext) -> dict[str, set[str]]:
    project = ctx.deployment.compose_project
    return {
        host: {volume.name for volume in facts.volumes if volume.project == project}
        for host, facts in ctx.facts.items()
    }
