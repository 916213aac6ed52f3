"""Which containers a release was last brought up with, to the end. Python 3.8, standard library."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.module_utils.atomic import write_atomic

NAME = "started.json"


def remember_started(directory: str, project: str, containers: list[dict]) -> None:
    """Note beside the releases what compose has left: later looks compare what runs with it.

    Docker restarts an older container after a power loss, and somebody may bring up an older release by hand.
    """
    release = Path(directory)
    note = {
        "release": release.name,
        "project": project,
        "containers": {
            container["Id"]: {
                "service": labels_of(container).get("com.docker.compose.service", ""),
                "hash": labels_of(container).get("com.docker.compose.config-hash", ""),
                "mounts": [mount_of(mount) for mount in container.get("Mounts") or []],
            }
            for container in containers
        },
    }
    write_started(release.parent.parent, note)


def healed_before(directory: str) -> list[str]:
    """Files of the release that were put back since its services were started."""
    note = read_started(Path(directory).parent.parent)
    healed = note.get("healed")
    return [path for path in healed if isinstance(path, str)] if isinstance(healed, list) else []


def remember_healed(root: Path, paths: list[str]) -> None:
    """Note files that were put back: containers that mount them are to be made anew, even if this is cut off now."""
    note = read_started(root)
    note["healed"] = sorted({*paths, *(note.get("healed") or [])})
    write_started(root, note)


def mounts_one_of(container: dict, directory: str, paths: list[str]) -> bool:
    """Whether a container mounts one of these files of a release, or a folder that holds it."""
    for mount in container.get("Mounts") or []:
        source = mount.get("Source", "")
        inside = source == directory or source.startswith(directory + "/")
        place = source[len(directory) :].strip("/")
        below = any(not place or path == place or path.startswith(place + "/") for path in paths)
        if mount.get("Type") == "bind" and inside and below:
            return True
    return False


def read_started(root: Path) -> dict:
    """What was noted; empty where there is nothing that can be read."""
    try:
        found = json.loads((root / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_started(root: Path, note: dict) -> None:
    """Write it whole, for everybody to read."""
    write_atomic(root / NAME, json.dumps(note, sort_keys=True).encode(), 0o644, sync=True)


def labels_of(container: dict) -> dict:
    return container["Config"]["Labels"] or {}


def mount_of(mount: dict) -> dict:
    """A mount as the agent of canaryctl describes it; a volume's source is its name."""
    return {
        "type": mount.get("Type", ""),
        "source": mount.get("Name") or mount.get("Source", ""),
        "destination": mount.get("Destination", ""),
        "rw": bool(mount.get("RW")),
    }
