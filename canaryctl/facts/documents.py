"""Documents of ours that lie on hosts: whether one has the form that we write. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from canaryctl.facts.names import image_id, plain_name, reference_name
from canaryctl.facts.typed import LATEST, LONGEST

# Keys of a line of the history, and of a migration's record, that are text or null.
_LINE = ("time", "who", "environment", "what", "from", "to", "verdict", "run", "role", "reason", "variant", "mode")
_RELEASE = ("id", "environment", "stack", "variant")
_RECORD = ("project", "image", "upgrade", "release", "revision", "run")


def history_line(line: Any) -> bool:
    """Whether a line of a history can be one of ours."""
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
        and reference_name(image.get("tag"))
        and (not image.get("source") or reference_name(image["source"]))
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
