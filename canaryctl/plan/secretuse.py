"""Which services of a compose document use which secrets. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Sections whose entries services use by name, and that can hold a value themselves.
_SHARED = ("secrets", "configs")


def secret_use(compose: Mapping[str, Any], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The secrets of each service, in the order of `names`; services without any are left out.

    A service uses a secret that its block refers to (`$NAME`, `${NAME}` with any default, a variable handed through by
    its name alone), or that a config or secret of the document refers to which it is given.
    """
    wanted = tuple(names)
    shared = {
        (section, key): _referred(entry, wanted) | _handed(entry, wanted)
        for section in _SHARED
        for key, entry in (compose.get(section) or {}).items()
    }
    found: dict[str, tuple[str, ...]] = {}
    for service, block in compose["services"].items():
        used = _referred(block, wanted) | _handed(block, wanted)
        for section, key in _given(block):
            used |= shared.get((section, key), set())
        if used:
            found[service] = tuple(name for name in wanted if name in used)
    return found


def _referred(part: Any, names: Iterable[str]) -> set[str]:
    """Names that a text anywhere in it refers to; `$$` is a dollar sign and no reference."""
    text = json.dumps(part, default=str).replace("$$", "")
    return {name for name in names if re.search(rf"\$\{{?{re.escape(name)}(?!\w)", text)}


def _handed(part: Any, names: Iterable[str]) -> set[str]:
    """Names whose value compose takes from the env file because nothing else is said."""
    environment = part.get("environment") if isinstance(part, dict) else None
    if isinstance(environment, str):  # of a top-level secret or config
        return {environment} & set(names)
    if isinstance(environment, dict):
        return {key for key, value in environment.items() if value is None} & set(names)
    return {str(entry) for entry in environment} & set(names) if isinstance(environment, list) else set()


def _given(block: Any) -> Iterator[tuple[str, str]]:
    for section in _SHARED:
        for entry in (block or {}).get(section) or ():
            yield section, str(entry.get("source") if isinstance(entry, dict) else entry)
