"""What a host tells and cannot be right is left out, and said. Pure.

Whoever may run a container on a host chooses its labels, an image brings its own: something odd of somebody else is
nobody's, and stops nothing. Something odd in what we keep there ourselves is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canaryctl.facts.change import parse_change
from canaryctl.facts.documents import history_line, migration_record, release_document
from canaryctl.facts.names import container_id, plain_name, project_name, reference_name, release_directory
from canaryctl.facts.started import parse_started
from canaryctl.facts.typed import LONGEST, listed, printable, section

_MOST_NAMED = 5


class Odd:
    """What was left out, in sentences for the operator; a few of a kind, and how many more there are."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, value: object) -> None:
        """`kind` ends where the value is named: `its release directory`."""
        self._found.setdefault(kind, []).append(printable(value))

    def sentences(self) -> tuple[str, ...]:
        """All of it."""
        return tuple(
            f"{kind} {', '.join(repr(one) for one in found[:_MOST_NAMED])}"
            f"{f' and {len(found) - _MOST_NAMED} more' if len(found) > _MOST_NAMED else ''} cannot be right and counts "
            "for nothing"
            for kind, found in self._found.items()
        )


def without_odd(document: Mapping[str, Any], odd: Odd) -> dict[str, Any]:
    """The agent's document without names that cannot be any.

    Raises:
        Unbelievable: where there should be a list or an object is something else.
    """
    found = dict(document)
    if document.get("containers") is not None:
        found["containers"] = [
            c for entry in listed(document["containers"], "containers") if (c := _container(entry, odd))
        ]
    if document.get("volumes") is not None:
        found["volumes"] = [v for entry in listed(document["volumes"], "volumes") if (v := _volume(entry, odd))]
    if document.get("images") is not None:
        found["images"] = [_image(entry, odd) for entry in listed(document["images"], "images")]
    if document.get("state") is not None:
        found["state"] = _state(section(document["state"], "state"), odd)
    return found


def _container(entry: Any, odd: Odd) -> dict[str, Any] | None:
    found = dict(section(entry, "containers"))
    identity = found.get("id") or ""
    if identity and not container_id(identity):
        odd.add("the container id", identity)
        return None
    name = found.get("name") or ""
    if name and not plain_name(name):  # Docker's old links have a slash in theirs
        found["name"] = identity[:12]
    for key, fits, what in (("project", project_name, "compose project"), ("service", plain_name, "compose service")):
        if found.get(key) and not fits(found[key]):
            odd.add(f"{what} of container {printable(found['name'])}:", found[key])
            found |= {"project": "", "service": "", "config_files": ""}
    if not isinstance(found.get("config_files") or "", str) or len(found.get("config_files") or "") > LONGEST:
        found["config_files"] = ""
    for key in ("image", "image_id"):
        if found.get(key) and not reference_name(found[key]):
            odd.add(f"image of container {printable(found.get('name'))}:", found[key])
            found[key] = ""
    return found


def _volume(entry: Any, odd: Odd) -> dict[str, Any] | None:
    found = dict(section(entry, "volumes"))
    if not plain_name(found.get("name")):
        odd.add("volume", found.get("name"))
        return None
    if found.get("project") and not project_name(found["project"]):
        odd.add(f"compose project of volume {found['name']}:", found["project"])
        found["project"] = ""
    return found


def _image(entry: Any, odd: Odd) -> dict[str, Any]:
    found = dict(section(entry, "images"))
    tags = listed(found.get("tags"), "images.tags")
    found["tags"] = [tag for tag in tags if reference_name(tag)]
    for tag in tags:
        if tag not in found["tags"]:
            odd.add("tag", tag)
    return found


def _state(state: Mapping[str, Any], odd: Odd) -> dict[str, Any]:
    found = dict(state)
    if state.get("current") is not None and not release_directory(state["current"]):
        odd.add("what its `current` points to:", state["current"])
        found["current"] = None
    releases = {}
    for name, entry in section(state.get("releases"), "state.releases").items():
        if not release_directory(name):
            odd.add("its release directory", name)
            continue
        kept = dict(section(entry, "state.releases"))
        release = kept.get("release")
        kept["release"] = None if release is None else release_document(release)
        if release is not None and kept["release"] is None:
            odd.add("the release.json of", name[:12])
        releases[name] = kept
    found["releases"] = releases
    found["history"] = history_lines(state.get("history"), odd)
    if state.get("migrated") is not None and not migration_record(state["migrated"]):
        odd.add("its migrated.json:", state["migrated"])
        found["migrated"] = None
    found["started"] = parse_started(state.get("started"))
    found["change"] = parse_change(state.get("change"))
    if state.get("change") and found["change"] is None:
        odd.add("its change.json:", state["change"])
    return found


def history_lines(lines: Any, odd: Odd) -> list[dict[str, Any]]:
    """The lines of a history that are lines of ours. Raises Unbelievable where it is no list."""
    found = []
    for line in listed(lines, "history"):
        if history_line(line):
            found.append(dict(line))
        else:
            odd.add("a line of its history:", line)
    return found
