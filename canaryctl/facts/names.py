"""Names and documents of ours that a host tells of: what cannot be one is left out, and said. Pure.

They become directories, options, patterns, and arguments of commands. Whoever may run a container on a host chooses its
labels, an image brings its own: something odd of somebody else is nobody's, and stops nothing. Something odd in what we
keep there ourselves is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from canaryctl.facts.started import parse_started
from canaryctl.facts.typed import LATEST, LONGEST, listed, printable, section

_DIRECTORY = re.compile(r"[0-9a-f]{64}-[0-9a-f]{8}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,254}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_CONTAINER = re.compile(r"[0-9a-f]{12,64}")
_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@\[\]-]{0,511}")
_MOST_TOLD = 5
# Keys of a line of the history, and of a migration's record, that are text or null.
_LINE = ("time", "who", "environment", "what", "from", "to", "verdict", "run", "role", "reason", "variant", "mode")
_RELEASE = ("id", "environment", "stack", "variant")
_RECORD = ("project", "image", "upgrade", "release", "revision", "run")


class Odd:
    """What was left out, in sentences for the operator; a few of a kind, and how many more there are."""

    def __init__(self) -> None:
        self._told: dict[str, list[str]] = {}

    def add(self, kind: str, value: object) -> None:
        """`kind` ends where the value is named: `its release directory`."""
        self._told.setdefault(kind, []).append(printable(value))

    def sentences(self) -> tuple[str, ...]:
        """All of it."""
        return tuple(
            f"{kind} {', '.join(repr(one) for one in found[:_MOST_TOLD])}"
            f"{f' and {len(found) - _MOST_TOLD} more' if len(found) > _MOST_TOLD else ''} cannot be right and counts "
            "for nothing"
            for kind, found in self._told.items()
        )


def project_name(value: Any) -> bool:
    """Whether compose could have given a project this name."""
    return isinstance(value, str) and bool(_PROJECT.fullmatch(value))


def plain_name(value: Any) -> bool:
    """Whether it can name a service, a container, a volume or a file: no folder, no option, no pattern."""
    return isinstance(value, str) and bool(_NAME.fullmatch(value))


def image_id(value: Any) -> bool:
    """Whether it is an image's identity."""
    return isinstance(value, str) and bool(_IMAGE.fullmatch(value))


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
    if identity and not (isinstance(identity, str) and _CONTAINER.fullmatch(identity)):
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
        if found.get(key) and not (isinstance(found[key], str) and _REFERENCE.fullmatch(found[key])):
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
    found["tags"] = [tag for tag in tags if isinstance(tag, str) and _REFERENCE.fullmatch(tag)]
    for tag in tags:
        if tag not in found["tags"]:
            odd.add("tag", tag)
    return found


def _state(state: Mapping[str, Any], odd: Odd) -> dict[str, Any]:
    found = dict(state)
    if state.get("current") is not None and not _directory(state["current"]):
        odd.add("what its `current` points to:", state["current"])
        found["current"] = None
    releases = {}
    for name, entry in section(state.get("releases"), "state.releases").items():
        if not _directory(name):
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
    return found


def _directory(value: Any) -> bool:
    return isinstance(value, str) and bool(_DIRECTORY.fullmatch(value))


def history_lines(lines: Any, odd: Odd) -> list[dict[str, Any]]:
    """The lines of a history that are lines of ours. Raises Unbelievable where it is no list."""
    found = []
    for line in listed(lines, "history"):
        if _is_line(line):
            found.append(dict(line))
        else:
            odd.add("a line of its history:", line)
    return found


def _is_line(line: Any) -> bool:
    return (
        isinstance(line, Mapping)
        and _texts(line, _LINE)
        and _moment(line.get("time"))
        and _pairs(line.get("contracts"), int)
        and _pairs(line.get("images"), str)
        and _words(line.get("placed"))
    )


def migration_record(record: Any) -> bool:
    """Whether a record of a migration can be one of ours."""
    return (
        isinstance(record, Mapping)
        and _texts(record, _RECORD)
        and _moment(record.get("time"))
        and isinstance(record.get("backward_compatible", False), bool)
    )


def release_document(document: Any) -> dict[str, Any] | None:
    """A release.json whose parts fit each other, those that it lacks empty; None where it cannot be one of ours."""
    if not isinstance(document, Mapping) or not _texts(document, _RELEASE):
        return None
    images, services = document.get("images") or {}, document.get("services") or {}
    placed, files = document.get("placed") or [], document.get("files") or {}
    environment = document.get("environment") or ""
    fits = (
        (not environment or plain_name(environment))
        and isinstance(images, Mapping)
        and all(plain_name(name) and _is_image(image) for name, image in images.items())
        and _pairs(services, str)
        and all(plain_name(service) and image in images for service, image in services.items())
        and _words(placed)
        and all(service in services for service in placed)
        and _pairs(files, str)
    )
    if not fits:
        return None
    known = {"images": images, "services": services, "placed": placed, "files": files}
    return {**document, **{key: document.get(key) or "" for key in _RELEASE}, **known}


def _is_image(image: Any) -> bool:
    return (
        isinstance(image, Mapping)
        and image_id(image.get("id"))
        and isinstance(tag := image.get("tag"), str)
        and bool(_REFERENCE.fullmatch(tag))
        and isinstance(source := image.get("source") or "", str)
        and (not source or bool(_REFERENCE.fullmatch(source)))
        and isinstance(size := image.get("size") or 0, int)
        and 0 <= size < 2**63
    )


def _texts(document: Mapping[Any, Any], keys: Iterable[str]) -> bool:
    return all(
        isinstance(key, str)
        and (key not in keys or value is None or (isinstance(value, str) and len(value) <= LONGEST))
        for key, value in document.items()
    )


def _pairs(document: Any, kind: type[Any]) -> bool:
    return document is None or (
        isinstance(document, Mapping)
        and all(isinstance(key, str) and isinstance(value, kind) for key, value in document.items())
    )


def _words(words: Any) -> bool:
    return words is None or (isinstance(words, list) and all(isinstance(word, str) for word in words))


def _moment(value: Any) -> bool:
    """Whether it is a time that can be compared: RFC 3339, or seconds since 1970."""
    if not isinstance(value, str):
        return value is None or (isinstance(value, (int, float)) and 0 <= value <= LATEST)
    try:
        return len(value) < 40 and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
