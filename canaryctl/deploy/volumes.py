"""What `down --volumes` removed: the difference between two looks at the hosts, not what was asked for."""

from __future__ import annotations

from canaryctl.deploy import stages
from canaryctl.deploy.context import Work


def down(work: Work, *, volumes: bool) -> dict[str, list[str]]:
    """Stop the services, and with `volumes` remove this environment's volumes; the names of those that went, by host.

    Without `volumes` nothing is looked at again: data stays.
    """
    before = _volumes(work)
    stages.down(work, volumes=volumes)
    if not volumes:
        return {}
    work.observe(again=True)
    after = _volumes(work)
    removed = {host: sorted(names - after.get(host, names)) for host, names in before.items()}
    removed = {host: names for host, names in removed.items() if names}
    work.run.set("removed", {"volumes": removed})
    said = "; ".join(f"{host}: {', '.join(names)}" for host, names in removed.items())
    work.run.note(f"volumes removed with their data: {said}" if said else "there was no volume to remove")
    return removed


def _volumes(work: Work) -> dict[str, set[str]]:
    project = work.scene.compose_project
    return {
        host: {volume.name for volume in facts.volumes if volume.project == project}
        for host, facts in work.facts.items()
    }
