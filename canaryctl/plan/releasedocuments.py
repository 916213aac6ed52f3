"""A release as hosts have it in release.json: its form, and whether several hosts have the same. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

_ID = re.compile(r"[0-9a-f]{64}")
_IDENTITY = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 10_000  # characters of a text that a host may give


def parse_release(document: Any) -> Mapping[str, Any] | None:
    """A release.json as a host has it; None where it is none."""
    if not isinstance(document, Mapping) or not is_id(document.get("id")):
        return None
    services, images, files = (document.get(key) for key in ("services", "images", "files"))
    fits = (
        is_text(document.get("variant"))
        and _are_texts(services)
        and _are_texts(files)
        and isinstance(images, Mapping)
        and all(is_text(name) and _is_image(image) for name, image in images.items())
        and set(services.values()) <= set(images)  # type: ignore[union-attr]
    )
    return document if fits else None


def _is_image(image: Any) -> bool:
    if not isinstance(image, Mapping):
        return False
    identity, size, source = image.get("id"), image.get("size"), image.get("source")
    return (
        isinstance(identity, str)
        and bool(_IDENTITY.fullmatch(identity))
        and is_text(image.get("tag"))
        and (size is None or is_count(("size", size)))
        and (source is None or is_text(source))
    )


def is_text(value: Any) -> bool:
    """Whether a value is a text of Unicode that is not too long."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(is_text, (*value, *value.values())))


def is_count(item: tuple[Any, Any]) -> bool:
    """Whether a pair is a name and how many there are."""
    name, count = item
    return is_text(name) and isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**63


def is_id(value: Any) -> bool:
    """Whether a value is a release's id."""
    return isinstance(value, str) and bool(_ID.fullmatch(value))


def differing_hosts(documents: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Hosts whose release.json of one release is not what most have, all where no one is most; none where all agree."""
    made = {host: _substance(document) for host, document in documents.items()}
    if len(set(made.values())) < 2:
        return []
    (usual, most), (_, next_most) = Counter(made.values()).most_common(2)
    return sorted(host for host, content in made.items() if content != usual or most == next_most)


def _substance(document: Mapping[str, Any]) -> str:
    """What a release.json says of the release, beside where it came from and which services are on this host."""
    images = document.get("images") or {}
    plain = {name: {"id": image.get("id"), "tag": image.get("tag")} for name, image in images.items()}
    content = (document.get("variant"), document.get("services"), document.get("files"), plain)
    return json.dumps(content, sort_keys=True, default=repr)
