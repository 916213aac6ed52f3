"""Whether a host still has, and runs, what its release put there: by the release's own word. Pure."""

from __future__ import annotations

from canaryctl.agent.read.installed import rendering_suffix
from canaryctl.facts.host import ContainerFacts, HostFacts
from canaryctl.plan.definitions import other_definitions
from canaryctl.plan.releasefiles import foreign_files


def drift(facts: HostFacts, project: str) -> list[str]:
    """How a host differs from the release that is current on it, each in words; empty where it does not.

    A release directory's name ends with a digest of the files it was made with. Services that are missing or sick are
    a matter of health, not of drift.
    """
    current, release = facts.state.current, facts.state.current_release
    if current is None:
        return []
    if release is None:
        return ["the release's release.json cannot be read"]
    files = facts.state.releases[current].files
    files = {path: digest for path, digest in files.items() if path not in foreign_files(release, files)}
    found = []
    if rendering_suffix(str(release.get("environment")), files) != current.rpartition("-")[2]:
        found.append("files of the release were changed")
    for container in facts.containers:
        if container.project == project and not container.oneoff:
            found += _image(container, release, facts)
    found += [f"{service} {how}" for service, how in sorted(other_definitions(facts, project, current).items())]
    return found


def _image(container: ContainerFacts, release: dict[str, object], facts: HostFacts) -> list[str]:
    services, images = release.get("services"), release.get("images")
    name = services.get(container.service) if isinstance(services, dict) else None
    image = images.get(name) if isinstance(images, dict) else None
    if not isinstance(image, dict):
        return [f"{container.service} is not of the release"]
    same = facts.runs_image(container, str(image.get("id")), str(image.get("tag")))
    return [] if same else [f"{container.service} runs another image"]
